"""The verb `evaluate`: predictions are counted, scored and stored."""
