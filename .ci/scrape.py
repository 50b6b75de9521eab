"""Checks what the demo serves to Prometheus, and compares the dashboard and the alerts with it.

`check(text)` parses a scrape as Prometheus does, and fails if

- a metric, its type or its labels are not as docs/metrics.md describes them
- a documented metric is missing, although the demo uses what it measures
- an expression of docs/grafana-dashboard.json or docs/alerts.yml does not parse, or has a metric, a
  label or the value of a label that does not exist

Needs prometheus_client, promql-parser and PyYAML.
"""

import json
import pathlib
import re

import promql_parser as promql
import yaml
from prometheus_client.parser import text_string_to_metric_families

# The demo has neither a Redis nor a key that it fetches.
NOT_IN_DEMO = {
    "aliyun_oss_key_fetches_total",
    "aliyun_oss_redis_call_duration_seconds",
    "aliyun_oss_redis_errors_total",
}

# What the samples of a type add to its name, and the label that they add.
PARTS = {
    "counter": {"": set()},
    "gauge": {"": set()},
    "histogram": {"_bucket": {"le"}, "_sum": set(), "_count": set()},
}


def documented():
    """Returns type and labels of each metric in the table of docs/metrics.md."""
    text = pathlib.Path("docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(aliyun_oss_\w+)` \| (\w+) \|([^|]*)\|", text, re.M)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def without_suffix(family, sample):
    """Returns the name of a metric in the table, which is the name of its samples without parts."""
    return sample if family.type == "counter" else family.name


class Series:
    """What can be selected: the values of each label, by name of the samples.

    A label has `None` instead of values if the demo does not have the metric."""

    def __init__(self, text):
        self.labels = {}
        found = set()
        table = documented()
        for family in text_string_to_metric_families(text):
            if not family.name.startswith("aliyun_oss_"):
                continue
            for sample in family.samples:
                name = without_suffix(family, sample.name)
                assert name in table, f"{name} is not in the table"
                kind, labels = table[name]
                assert family.type == kind, f"{name} is a {family.type}, not a {kind}"
                part = sample.name.removeprefix(name)
                expected = labels | PARTS[kind][part]
                assert set(sample.labels) == expected, f"{sample} has other labels than {expected}"
                found.add(name)
                values = self.labels.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    values.setdefault(label, set()).add(value)
        assert set(table) - found == NOT_IN_DEMO, f"not scraped: {set(table) - found}"
        for name in NOT_IN_DEMO:
            kind, labels = table[name]
            for part, more in PARTS[kind].items():
                self.labels[name + part] = dict.fromkeys(labels | more)

    def faults(self, expression):
        """Yields what an expression selects that does not exist."""
        selected = [part for part in parts(expression) if isinstance(part, promql.VectorSelector)]
        if not selected:
            yield "selects nothing"
        for selector in selected:
            labels = self.labels.get(selector.name)
            if labels is None:
                yield f"no metric {selector.name}"
                continue
            for matcher in selector.matchers.matchers:
                if matcher.name not in labels:
                    yield f"no label {matcher.name} in {selector.name}"
                elif (existing := labels[matcher.name]) is not None:
                    regular = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
                    for value in matcher.value.split("|") if regular else [matcher.value]:
                        if value not in existing:
                            yield f"no {matcher.name}={value} in {selector.name}"
        for part in parts(expression):
            if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
                kept = {selector.name for selector in parts(part) if hasattr(selector, "matchers")}
                for label in part.modifier.labels:
                    if any(label not in self.labels.get(name, {}) for name in kept):
                        yield f"grouped by {label}, which {kept} lacks"


def parts(expression):
    """Yields an expression and all that it consists of."""
    yield expression
    inner = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    for part in [*inner, *getattr(expression, "args", [])]:
        if part is not None:
            yield from parts(part)


def parse(text):
    return promql.parse(text.replace("$__rate_interval", "5m"))


def panels(dashboard):
    """Yields title, expression and legend of each query."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]
        yield from panels({"panels": panel.get("panels", [])})


def queries():
    """Returns where each expression is, the expression and the labels that its legend names."""
    dashboard = json.loads(pathlib.Path("docs/grafana-dashboard.json").read_text())
    alerts = yaml.safe_load(pathlib.Path("docs/alerts.yml").read_text())
    found = [
        (f"panel {title!r}", expression, set(re.findall(r"{{\s*(\w+)\s*}}", legend)))
        for title, expression, legend in panels(dashboard)
    ]
    for rule in (rule for group in alerts["groups"] for rule in group["rules"]):
        used = re.findall(r"\$labels\.(\w+)", json.dumps(rule.get("annotations", {})))
        found.append((f"alert {rule['alert']}", rule["expr"], set(used)))
    return found


def kept_labels(expression):
    """Returns the labels by which an expression groups."""
    groups = [part.modifier for part in parts(expression) if isinstance(part, promql.AggregateExpr)]
    return {label for modifier in groups if modifier is not None for label in modifier.labels}


def check_queries(series):
    """Compares the dashboard and the alerts with the series, and checks the comparison itself."""
    for wrong in (
        "sum(rate(aliyun_oss_callback_total[5m]))",
        "sum by (stage) (rate(aliyun_oss_callbacks_total[5m]))",
        'rate(aliyun_oss_callbacks_total{status="Accepted"}[5m])',
        'rate(aliyun_oss_callbacks_total{outcome=~"Accepted|Accept"}[5m])',
        "max(aliyun_oss_ledger_open_rows_total offset 6h) > 1",
        'sum(aliyun_oss_redis_errors_total{outcome="Unavailable"})',
    ):
        assert list(series.faults(parse(wrong))), f"accepted: {wrong}"
    count = 0
    for place, text, named in queries():
        expression = parse(text)
        faults = list(series.faults(expression))
        faults += [f"{label} is not grouped by" for label in named - kept_labels(expression)]
        assert not faults, f"{place}: {faults}"
        count += 1
    assert count >= 20, count
    return count


def check(text):
    families = {family.name: family for family in text_string_to_metric_families(text)}
    callbacks = {
        sample.labels["outcome"]: sample.value
        for sample in families["aliyun_oss_callbacks"].samples
        if sample.labels["origin"] == "Oss"
    }
    assert callbacks["Accepted"] == 1, callbacks
    assert sum(callbacks.values()) > 2, callbacks
    stages = families["aliyun_oss_callback_stage_duration_seconds"]
    counted = {
        sample.labels["stage"]: sample.value
        for sample in stages.samples
        if sample.name.endswith("_count")
    }
    assert counted["handler"] == 1, counted
    (tickets,) = families["aliyun_oss_tickets_issued"].samples
    assert tickets.value >= 1
    outcomes = families["aliyun_oss_tokens"].samples
    tokens = {sample.labels["outcome"]: sample.value for sample in outcomes}
    assert tokens["Issued"] >= 1, tokens
    series = Series(text)
    print(f"metrics: {len(families)} families, {check_queries(series)} expressions")
