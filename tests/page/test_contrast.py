"""The colours of the style sheet, pair by pair, in both themes; and what the page's files must not hold. No browser."""
import re
import unittest
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "core/serve/page"
CSS = (PAGE / "style.css").read_text()

# (foreground, background, at least): text 4.5, what only needs to be seen 3 (WCAG 2.1, 1.4.3 and 1.4.11).
PAIRS = [(text, ground, 4.5) for ground in ("ground", "panel", "raised") for text in ("text", "soft", "water", "good", "bad", "warn")] + [
    ("text", "bad-ground", 4.5), ("bad", "bad-ground", 4.5), ("text", "warn-ground", 4.5), ("warn", "warn-ground", 4.5), ("on-water", "water", 4.5),
    ("text", "water-soft", 4.5), ("limit", "panel", 3), ("limit", "water-soft", 3), ("limit", "shade", 3), ("water-line", "panel", 3), ("water-line", "raised", 3),
    ("edge", "panel", 3), ("edge", "ground", 3), ("focus", "panel", 3), ("focus", "ground", 3), ("focus", "raised", 3), ("bad", "panel", 3)]


def theme(selector):
    block = re.search(re.escape(selector) + r"\s*\{(.*?)\}", CSS, re.S).group(1)
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6});", block))


def luminance(colour):
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


class Colours(unittest.TestCase):
    def test_the_formula(self):
        self.assertAlmostEqual(contrast("#000000", "#ffffff"), 21)
        self.assertAlmostEqual(contrast("#777777", "#ffffff"), 4.48, 2)

    def test_pairs(self):
        light, dark = theme(":root"), theme(':root[data-theme="dark"]')
        self.assertEqual(set(light), set(dark), "a theme lacks a colour")
        for name, colours in (("light", light), ("dark", dark)):
            for front, back, least in PAIRS:
                with self.subTest(theme=name, front=front, back=back):
                    self.assertGreaterEqual(round(contrast(colours[front], colours[back]), 2), least)

    def test_only_named_colours(self):
        rest = CSS[CSS.index("* { box-sizing"):]
        self.assertEqual(re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{]*\})", re.sub(r"#[a-z-]+", "", rest)), [])


class Files(unittest.TestCase):
    def test_nothing_inline_and_nothing_from_elsewhere(self):
        html = (PAGE / "index.html").read_text()
        self.assertNotRegex(html, r"<script(?![^>]*\bsrc=)")
        self.assertNotRegex(html, r"<style|\sstyle=|\son[a-z]+=|javascript:")
        for file in PAGE.iterdir():
            text = re.sub(r"http://www\.w3\.org/(2000/svg)", "", file.read_text())
            self.assertNotRegex(text, r"https?://|//cdn|@import|url\((?!#)", file.name)

    def test_text_is_never_parsed_as_markup(self):
        for file in PAGE.glob("*.js"):
            self.assertNotRegex(file.read_text(), r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|srcdoc", file.name)

    def test_every_file_is_embedded_and_used(self):
        listed = re.search(r"set\(page_files ([^)]*)\)", (PAGE / "embed.cmake").read_text()).group(1).split()
        self.assertEqual(sorted(listed), sorted(f.name for f in PAGE.iterdir() if f.suffix in (".html", ".css", ".js", ".svg")))

    def test_small(self):
        self.assertLess(sum(f.stat().st_size for f in PAGE.iterdir()), 120_000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
