"""Training, evaluation and what lies on disk."""

from anchorbench.runs.verbs import Asked, evaluate_again, train_all

__all__ = ["Asked", "evaluate_again", "train_all"]
