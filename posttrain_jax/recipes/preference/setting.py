"""Hyper-parameters that mean nothing, refused in words."""


def check_beta(beta: float) -> None:
    """The reward temperature is above 0."""
    if not beta > 0:
        raise ValueError(f"beta={beta} gives the pairs no say or the wrong one: choose it above 0.")


def check_label_noise(label_noise: float) -> None:
    """The probability of a wrong label lies in [0, 0.5)."""
    if not 0 <= label_noise < 0.5:
        raise ValueError(f"label_noise={label_noise} leaves nothing to learn: choose it in [0, 0.5).")


def check_coefficient(name: str, value: float) -> None:
    """A coefficient is finite and not negative."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}={value} turns the term round or lets it rule alone: choose a number of at least 0.")
