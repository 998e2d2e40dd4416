"""Keep, exclude or repair what is suspect: simulated, trained and estimated (the verb is in `verbs.decide`)."""
