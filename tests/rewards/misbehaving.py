"""Rewards that do what rewards should not; a module of its own, so that workers can import it."""

import ctypes
import dataclasses
import math
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np


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
        case ["segfault"]:
            ctypes.string_at(0)
        case ["die"]:
            os._exit(0)
        case ["stop"]:  # neither dead nor alive
            os.kill(os.getpid(), signal.SIGSTOP)
        case ["deafen"]:  # loses the way back to the run
            os.closerange(3, 256)
        case ["eat"]:
            bytearray(1 << 34)
        case ["eat", "slowly"]:
            eaten = []
            while True:
                eaten.append(bytearray(1 << 26))
        case ["flood"]:
            for _ in range(1 << 7):  # a gigabyte to each
                os.write(1, bytes(1 << 23))
                os.write(2, bytes(1 << 23))
        case ["lament"]:
            raise ValueError("no such answer " * (1 << 22))
        case ["print"]:
            print("noise " * 1000)
            print("noise", file=sys.stderr)
        case ["none"]:
            return None
        case ["text"]:
            return "1.0"
        case ["inf"]:
            return math.inf
        case ["list"]:
            return [1.0]
        case ["nested"]:
            return [[1.0, [2.0]], None]
        case ["array"]:
            return np.ones(3)
        case ["complex"]:
            return 1 + 1j
        case ["huge"]:
            return 10**400
        case ["thing"]:
            return object()
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


@dataclasses.dataclass(frozen=True)
class ByLetter:
    """Do what the first letter of the completion stands for, and score the others by their length."""

    acts: dict

    def __call__(self, sample):
        act = self.acts.get(sample.completion[:1])
        return length(sample) if act is None else obey(dataclasses.replace(sample, completion=act))


@dataclasses.dataclass(frozen=True)
class Together:
    """A group reward that does what the first completion says, and else scores by the sum of all lengths."""

    def score_group(self, group):
        match group[0].completion:
            case "few":
                return [1.0]
            case "number":
                return 1.0
            case "word":
                return "1" * len(group)
            case "mixed":
                return [1.0, math.nan, math.inf, "2"]
            case "array":
                return np.arange(len(group))
            case "generator":
                return (1.0 for _ in group)
            case word if word in ("raise", "hang", "die"):
                obey(group[0])
        return [float(sum(map(length, group)))] * len(group)


class Both(Together):
    """Neither one nor the other."""

    def __call__(self, sample):
        return 1.0


@dataclasses.dataclass(frozen=True)
class WhileThere:
    """Die as long as a file is there; score by length without it."""

    path: str

    def __call__(self, sample):
        if pathlib.Path(self.path).exists():
            os._exit(1)
        return length(sample)


class Broken:
    """A reward that cannot be loaded."""

    def __call__(self, sample):
        return 1.0

    def __reduce__(self):
        return (int, ("no number",))
