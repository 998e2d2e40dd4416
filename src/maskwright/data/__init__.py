"""From files to samples: layouts and formats, opening and converting, auditing, splitting."""
