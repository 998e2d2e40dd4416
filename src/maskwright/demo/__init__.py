"""The demonstration: data that look like photographs, and the whole line run on them."""
