"""Rewards that do what rewards should not; a module of its own, so that workers can import it."""

import math
import os
import random
import subprocess
import sys
import time


def length(sample):
    return len(sample.completion)


def obey(sample):
    """Do what the completion says."""
    match sample.completion.split():
        case ["raise"]:
            raise ValueError("no such answer")
        case ["hang"]:
            time.sleep(600)
        case ["hang", "with", "child", path]:
            with open(path, "w") as file:
                file.write(str(subprocess.Popen(["sleep", "600"]).pid))
            time.sleep(600)
        case ["spin"]:  # holds the interpreter: no signal handler written in Python would run
            import re

            re.match(r"(a+)+$", "a" * 40 + "b")
        case ["exit"]:
            sys.exit(3)
        case ["abort"]:
            os.abort()
        case ["eat"]:
            bytearray(1 << 34)
        case ["print"]:
            print("noise " * 1000)
            print("noise", file=sys.stderr)
        case ["none"]:
            return None
        case ["text"]:
            return "1.0"
        case ["inf"]:
            return math.inf
        case ["nan"]:
            return math.nan
        case ["true"]:
            return True
        case ["random"]:
            return random.random()
        case ["hash"]:
            return hash("some text") % 1000
        case ["jax"]:
            return float("jax" in sys.modules)
    return 1.0


class Broken:
    """A reward that cannot be loaded."""

    def __call__(self, sample):
        return 1.0

    def __reduce__(self):
        return (int, ("no number",))
