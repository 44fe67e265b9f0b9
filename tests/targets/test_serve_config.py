"""A Ray Serve config for another package: whole values are replaced, never parts of words."""

from __future__ import annotations

import yaml

from mlops_obs.adapters.serve_config import package_of, renamed

CONFIG = """
applications:
- name: risk-v1
  import_path: v1.app:build
  args: {revision: v1, package: s3://m/v1, store: online.db}
- name: ingress
  args: {stable: v1}
  deployments:
  - name: Ingress
    user_config: {weights: {v1: 100}}
"""


def test_the_package_of_a_config_is_the_one_that_its_applications_name():
    assert package_of(CONFIG) == "s3://m/v1"


def test_a_config_that_names_none_or_several_or_is_no_yaml_has_none():
    several = "applications: [{args: {package: a}}, {args: {package: b}}]"

    assert [package_of(config) for config in ("", "applications: []", several, "a: [", "just words")] == [None] * 5


def test_a_renamed_config_has_the_new_revision_wherever_the_old_one_stood_as_a_whole():
    apps = yaml.safe_load(renamed(CONFIG, "v1", "v2", "s3://m/new"))["applications"]

    assert apps[0] == {
        "name": "risk-v2",
        "import_path": "v1.app:build",
        "args": {"revision": "v2", "package": "s3://m/new", "store": "online.db"},
    }
    assert (apps[1]["args"], apps[1]["deployments"][0]["user_config"]) == ({"stable": "v2"}, {"weights": {"v2": 100}})
