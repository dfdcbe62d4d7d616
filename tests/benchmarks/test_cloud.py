"""The benchmark of stores runs and tells what it has measured."""

import json

from tiny_models import write_models

from keras_refocus import benchmark


def test_stores_beside_files_and_memory(tmp_path, capsys):
    options = ["--models", str(write_models(tmp_path)), "--size", "32x24", "--runs", "1"]
    for what, place in (("stores", "memory://bench-a/x"), ("memory", "memory://bench-b/x")):
        pictures = ["--pictures", "3" if what == "stores" else "201"]
        benchmark.main(["cloud", what, "--place", place, *pictures, *options])
        _, figures = capsys.readouterr().out.split("\n", 1)
        found = json.loads(figures)
        if what == "stores":
            assert len(found["pictures_a_second"]["files"]) == 1 and found["stores_of_files"] > 0
        else:
            assert found["highest_minus_lowest_mib"] >= 0
