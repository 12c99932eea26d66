"""What is minimised: the model, its loss, the penalty, and their sum over rows."""
