"""The demonstration: a data generator, and the verb that runs the whole line on what it draws."""
