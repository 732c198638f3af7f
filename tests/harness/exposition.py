"""Prometheus's text format, as far as the tests read it. Stdlib only."""
import re
from pathlib import Path

SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:[\w]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
TABLE_ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*) \|", re.M)


class Metrics:
    def __init__(self, text):
        self.text, self.samples = text, []
        for number, line in enumerate(text.splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            match = SAMPLE.fullmatch(line)
            if not match:
                raise AssertionError(f"line {number} is no sample: {line}")
            labels = {name: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value) for name, value in LABEL.findall(match[2] or "")}
            self.samples.append((match[1], labels, float(match[3])))

    def of(self, name, **labels):
        """[(labels, value)] of the samples with these labels."""
        return [(has, value) for sample, has, value in self.samples
                if sample == name and all(has.get(k) == v for k, v in labels.items())]

    def sum(self, name, **labels):
        return sum(value for _, value in self.of(name, **labels))

    def one(self, name, **labels):
        found = self.of(name, **labels)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} samples of {name}{labels}, not one:\n{self.text}")
        return found[0][1]

    def by(self, label, name, **labels):
        """{value of the label: sum}, without what is 0."""
        sums = {}
        for has, value in self.of(name, **labels):
            sums[has[label]] = sums.get(has[label], 0) + value
        return {k: v for k, v in sums.items() if v}


def documented(tree):
    """{name: labels} of docs/metrics.md's tables, which a unit test holds against the program's own."""
    rows = TABLE_ROW.findall((Path(tree) / "docs/metrics.md").read_text())
    return {name: re.findall(r"`(\w+)`", labels) + (["le"] if kind == "histogram" else []) for name, kind, labels in rows}


def family(sample):
    """weir_x_seconds_bucket ► weir_x_seconds."""
    return re.sub(r"_(bucket|count|sum)$", "", sample)
