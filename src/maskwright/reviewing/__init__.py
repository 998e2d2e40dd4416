"""The local page where masks are seen, judged and repaired.

`review` is the verb; `server` has the routes, `security` who may use them, `store` the edits, `history` what can be
undone, `queue` what to look at first, `pictures` what is shown, `assisting` what draws with the user, `runs` the list
of trainings. `static/` is the page: plain ES modules, no build step.
"""
