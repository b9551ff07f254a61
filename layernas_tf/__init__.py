"""LayerNAS-TF: mobile-architecture search for TensorFlow and Keras.

The public functions load what they need when they are first used, so importing the
package is cheap.

Example:
  from layernas_tf import run_search

  result = run_search(train=(x, y), test=(xt, yt), budget=["madds<=60%"], trials=60)
  result.export("model.tflite", format="int8")
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "SearchResult",
    "UserError",
    "compare_algorithms",
    "convert_model",
    "profile_architecture",
    "run_search",
    "train_architecture",
    "verify_model",
]

_MODULES = {
    "SearchResult": "layernas_tf.api.result",
    "UserError": "layernas_tf.core.errors",
    "compare_algorithms": "layernas_tf.api.compare",
    "convert_model": "layernas_tf.api.convert",
    "profile_architecture": "layernas_tf.api.profile",
    "run_search": "layernas_tf.api.search",
    "train_architecture": "layernas_tf.api.train",
    "verify_model": "layernas_tf.api.convert",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'layernas_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
