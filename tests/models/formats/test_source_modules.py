"""Functions that are shipped as source reach neither files nor code besides what they import."""

from __future__ import annotations

import pytest

from tidemill.core.errors import RuleRefused
from tidemill.models.formats.source_modules import check_source


@pytest.mark.parametrize(
    "source",
    [
        "from typing import sys",
        "import typing\nx = typing.sys",
        "import typing as t\ndef f(r):\n    return t.sys.modules",
        "import statistics\nx = statistics.random",
        "import re\nx = re.enum",
        "from statistics import random",
        "from numpy import *",
        "from numpy import load",
        "from operator import attrgetter",
        "import numpy as np\nx = np.load('a')",
        "import numpy as np\nx = np.ones(3).tofile('a')",
        "import numpy as np\nx = np.ctypeslib",
        "x = eval('1')",
        "x = exec('1')",
        "x = open('a')",
        "x = compile('1', 'a', 'eval')",
        "x = __import__('os')",
        "x = globals()",
        "x = vars()",
        "x = input()",
        "x = breakpoint()",
        "x = __builtins__",
        "run = eval",
        "x = ().__class__",
        "def f(r):\n    return f.__globals__",
        "def f(r, name):\n    return getattr(r, name)",
        "x = getattr((), '__class__')",
        "look = getattr",
        "x = '{0.__class__}'.format(1)",
        "import os",
        "from . import other",
        "import numpy.nothing",
        "def (",
        "\0",
    ],
)
def test_a_way_around_the_imports_is_refused(source: str) -> None:
    with pytest.raises(RuleRefused, match=r"^rules/mine\.py"):
        check_source("rules/mine.py", source)


def test_the_message_names_line_and_reason() -> None:
    with pytest.raises(RuleRefused, match=r"rules/mine\.py, line 4: `typing\.sys` is another module"):
        check_source("rules/mine.py", "import typing\n\ndef f(r):\n    return typing.sys\n")


@pytest.mark.parametrize(
    "source",
    [
        "from __future__ import annotations",
        "import numpy as np\nx = np.linalg.norm(np.random.default_rng(0).normal(size=3))",
        "from collections import Counter, abc\nimport collections.abc\nx = collections.abc.Mapping",
        "import datetime\nx = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)",
        "import math, re\nx = re.compile('a').sub('b', str(math.pi))",
        "from zoneinfo import ZoneInfo\nx = ZoneInfo('UTC')",
        "def f(r):\n    return getattr(r, 'price', 0.0)",
        "x = f'{1:.2f} {sorted([1])!r}'",
    ],
)
def test_what_rules_are_made_of_is_allowed(source: str) -> None:
    check_source("rules/mine.py", source)
