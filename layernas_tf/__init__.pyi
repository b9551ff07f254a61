"""The public names, for type checkers: the package itself loads them lazily."""

from layernas_tf.api.compare import compare_algorithms as compare_algorithms
from layernas_tf.api.convert import convert_model as convert_model
from layernas_tf.api.convert import verify_model as verify_model
from layernas_tf.api.profile import profile_architecture as profile_architecture
from layernas_tf.api.result import SearchResult as SearchResult
from layernas_tf.api.search import run_search as run_search
from layernas_tf.api.train import train_architecture as train_architecture
from layernas_tf.core.errors import UserError as UserError

__version__: str
