"""An encoder of motion, trained end to end on short labelled clips."""
