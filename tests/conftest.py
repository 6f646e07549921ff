"""The option of the suite, and its fixtures where tests run: importing those takes seconds, which a process that only
hands tests to workers need not spend.
"""

import gc
import os

import pytest

# Files that take longest, which begin first, so that no worker is left alone with one at the end.
LONGEST = (
    "browser",
    "browser_annotating",
    "studio_loadtest",
    "browser_pipelines",
    "browser_keys",
    "browser_teaching",
    "browser_headers",
    "browser_training",
    "optimization",
    "annotations_claims",
    "browser_populated",
    "annotations_staging",
    "rollout",
    "serving_ray",
    "annotations_reordering",
    "browser_importing",
    "grpo",
    "fuzz_endpoints",
    "lora",
    "backend_without_codes",
    "studio_generator",
    "loop",
    "teaching",
    "any_script",
    "opening",
    "sft",
    "isolation",
    "studio_training",
    "training_runs",
    "export_odd",
    "reward_model",
    "deepseek",
    "studio_annotating",
    "browser_datasets",
    "studio_review",
    "types",
    "benchmark",
    "rewards",
    "annotations_backup_postgres",
    "export_formats",
    "rollouts_by_replicas",
    "export_kinds",
    "annotations_checking",
    "export_aggregation",
    "annotations_benchmark",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also what takes long, and many more cases of what is random")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thorough: takes long; runs with --all")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what computes: results do not depend on the number of cores
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.getoption("dist", "no") == "no":
        gc.disable()  # until everything is imported: see `frozen_imports`
        config.pluginmanager.import_plugin("shared_fixtures")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--all"):
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if item not in thorough]
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
