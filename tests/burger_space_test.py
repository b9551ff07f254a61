"""GBurger: the menu, its table, and the walk of the LayerNAS post on it."""

from __future__ import annotations

import collections
import itertools

from absl.testing import absltest, parameterized

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.space.budget import parse_budget
from search_spaces.tabular.burger import BAND_DOLLARS, MENU, burger, burger_table

ALL = list(itertools.product(range(4), repeat=3))


def _price(architecture):
    return sum(MENU[i][1][o][0]["price"] for i, o in enumerate(architecture))


def _taste(architecture):
    return sum(MENU[i][1][o][1] for i, o in enumerate(architecture))


def _band(architecture):
    return int(_price(architecture) // BAND_DOLLARS)


class BurgerSpaceTest(parameterized.TestCase):
    def test_has_three_layers_of_four_options_and_the_largest_is_the_default(
        self,
    ):
        space = burger()
        self.assertEqual([len(layer.options) for layer in space.layers], [4, 4, 4])
        self.assertEqual(space.size, 64)
        self.assertEqual(space.default, max(ALL, key=_price))

    def test_price_is_the_sum_of_the_options(self):
        for architecture in ALL:
            self.assertAlmostEqual(
                burger().costs(architecture)["price"], _price(architecture)
            )

    def test_table_is_the_sum_of_the_tastes(self):
        table = burger_table()
        for architecture in ALL:
            row = table.query(architecture)
            self.assertEqual(row.valid, _taste(architecture))
            self.assertEqual(row.test, _taste(architecture))

    def test_no_price_is_on_the_edge_of_a_band(self):
        for architecture in ALL:
            distance = _price(architecture) % BAND_DOLLARS
            self.assertBetween(distance, 0.04, BAND_DOLLARS - 0.04)

    def test_layer_by_layer_there_are_4_then_16_in_4_bands_then_16(self):
        space, table = burger(), burger_table()
        search = LayerNAS(
            space,
            base="default",
            children=None,
            schedule="layerwise",
            searches=4,
            bucket_width=BAND_DOLLARS,
        )
        built = collections.defaultdict(set)
        while (candidate := search.ask()) is not None:
            if len(built[2]) == 12:
                break
            built[candidate.layer].add(candidate.architecture)
            search.tell(candidate, table.query(candidate.architecture).valid)
            if candidate.layer == 1:
                bands = {
                    search.table.bucket(1, space.costs(a)["price"])
                    for a in built[0] | built[1]
                }
        # An option that is the default gives its parent again, which is not built
        # twice: 4 + 12 of the 16 of a layer are new.
        self.assertLen(built[0], 4)
        self.assertLen(built[1], 12)
        self.assertLen(built[2], 12)
        self.assertLen(bands, 4)
        self.assertLen(search.table.kept[1], 4)

    @parameterized.parameters(2, 4, 6, 8, 10)
    def test_search_finds_the_best_burger_of_a_band(self, low):
        table = burger_table()
        budget = parse_budget(f"price={low}..{low + BAND_DOLLARS:g}", table.space)
        inside = [a for a in ALL if _band(a) == low // 2]
        best = max(inside, key=_taste)
        self.assertEqual([_taste(a) for a in inside].count(_taste(best)), 1)
        self.assertEqual(table.best([budget]).architecture, best)
        search = LayerNAS(
            table.space,
            [budget],
            base="default",
            children=None,
            schedule="layerwise",
            bucket_width=BAND_DOLLARS,
        )
        trials = 0
        while (candidate := search.ask()) is not None:
            search.tell(candidate, table.query(candidate.architecture).valid)
            trials += 1
        self.assertEqual(search.best.architecture, best)
        self.assertLessEqual(trials, 4 + 16 + 16)


if __name__ == "__main__":
    absltest.main()
