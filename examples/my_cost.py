"""A cost of your own: the energy of one inference.

python -m layernas_tf.describe --space=mnasnet --cost=examples/my_cost.py:energy
python -m layernas_tf.search --cost=examples/my_cost.py:energy --budget='energy_uj<=60%'
"""

from layernas_tf.costs.cost import Cost
from layernas_tf.space import Metric
from layernas_tf.space.search_space import Step

# Horowitz, "Computing's energy problem", ISSCC 2014, for 45 nm: an 8-bit product takes
# 0.2 pJ, an 8-bit sum 0.03 pJ. Han et al., "EIE", ISCA 2016, table I: 32 bits from DRAM
# take 640 pJ.
MADD_PJ = 0.2 + 0.03
BYTE_PJ = 640 / 4


def picojoules(step: Step) -> float:
    """Energy of a layer's multiply-adds, and of fetching each of its weights once."""
    return MADD_PJ * step.costs["madds"] + BYTE_PJ * step.costs["model_bytes"]


energy = Cost(
    Metric("energy_uj", "sum", "µJ", title="energy", text="{:.3f}".format),
    lambda step: picojoules(step) / 1e6,
)
