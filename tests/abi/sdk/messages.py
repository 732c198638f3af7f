"""Wrong stages must not compile, and the compiler must say why in words of the SDK's own.

messages.py INCLUDE_DIR COMPILER...
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ABOUT = 'static constexpr weir::info about{.id = "x", .version = "1", .title = "t"};'
MAKE = "explicit x(weir::context const&) {}"
COLLECT = "void collect(weir::run&) {}"
PREFIX = 'weir::option<"prefix", std::string>{.fallback = "p"}'


def stage(about=ABOUT, make=MAKE, collect=COLLECT, more=""):
    return f"namespace {{ struct x {{ {about} {make} {collect} {more} }}; }}\nWEIR_PLUGIN(\"p\", \"1\", \"v\", x);"


def body(text):
    return stage(collect=f"void collect(weir::run& run) {{ {text} }}")


def options(text):
    return f"constexpr auto all = weir::schema({text});\nchar const* const out = weir::json_schema<all>;"


def values(text):
    return f"constexpr auto all = weir::schema({PREFIX});\nvoid f(weir::values<all> const& v) {{ {text} }}"


RIGHT = {
    "a stage": stage(),
    "a stage with options": stage(
        about=f"static constexpr auto options = weir::schema({PREFIX});" + ABOUT.replace(
            "};", ", .options_schema = weir::json_schema<options>};"),
        make="explicit x(weir::context const& c) : given(c) {}",
        collect='void collect(weir::run&) const { std::string const& p = given.get<"prefix">(); (void)p; }',
        more="weir::values<options> given;"),
    "fetch_many": body("std::vector<std::string> t; run.fetch_many(t, [](std::size_t, weir::reply const&) {});"),
    "fetch_each": body("std::vector<std::string> t; for (auto&& [i, r] : run.fetch_each(t)) (void)i;"),
    "an option": options(PREFIX),
    "an option's value": values('(void)v.get<"prefix", std::string>();'),
}
WRONG = {
    # what: (source, the words)
    "no about": (stage(about=""), "a stage needs `static constexpr weir::info about"),
    "an about that is no constant": (stage(about="static inline weir::info about{};"), "`about` must be `static constexpr`"),
    "an about of each object": (stage(about="weir::info about{};"), "`about` must be `static constexpr`"),
    "no constructor": (stage(make="x() = default;"), "constructor that takes `weir::context const&`"),
    "no collect": (stage(collect=""), "a stage needs `void collect\\(weir::run&\\)`"),
    "a collect that copies the run": (stage(collect="void collect(weir::run) {}"), "a stage needs `void collect\\(weir::run&\\)`"),
    "a private collect": (stage(collect="private: void collect(weir::run&) {}"), "a stage needs `void collect\\(weir::run&\\)`"),
    "a destructor that throws": (stage(more="~x() noexcept(false) {}"), "a stage's destructor must not throw"),
    "an id in capitals": (stage(about=ABOUT.replace('"x"', '"Pools"')), "a stage's id is lower-case letters"),
    "no id": (stage(about=ABOUT.replace('.id = "x", ', "")), "a stage's id is lower-case letters|a stage's info needs"),
    "no title": (stage(about=ABOUT.replace(', .title = "t"', "")), "a stage's info needs version and title"),
    "kinds as words": (stage(about=ABOUT.replace("};", ', .kinds_json = "extras.tag"};')), "kinds_json is a JSON array"),
    "fetch_many of numbers": (body("std::vector<int> t; run.fetch_many(t, [](std::size_t, weir::reply const&) {});"),
                              "fetch_many\\(\\) needs a range of text"),
    "fetch_many of texts made on the fly": (
        body("std::string s; struct it : std::vector<int> {}; struct made { struct i { using value_type = std::string; "
             "using difference_type = std::ptrdiff_t; std::string operator*() const { return {}; } i& operator++() { return *this; } "
             "i operator++(int) { return *this; } bool operator==(i const&) const { return true; } }; i begin() const { return {}; } "
             "i end() const { return {}; } }; run.fetch_many(made{}, [](std::size_t, weir::reply const&) {});"),
        "makes its strings on the fly"),
    "a callback of another shape": (body("std::vector<std::string> t; run.fetch_many(t, [](weir::reply const&) {});"),
                                    "the callback of fetch_many\\(\\) is got\\(std::size_t index, weir::reply const& reply\\)"),
    "fetch_each of numbers": (body("std::vector<int> t; for (auto&& one : run.fetch_each(t)) (void)one;"),
                              "fetch_each\\(\\) needs a range of text"),
    "an option of an odd type": (options('weir::option<"a", char const*>{}'), "an option is bool, a number, std::string"),
    "an option without a fallback": (options('weir::option<"a", int>{}'), "an_option_needs_a_fallback_or_required_and_not_both"),
    "an option that is required and has a fallback": (options('weir::option<"a", int>{.fallback = 1, .required = true}'),
                                                      "an_option_needs_a_fallback_or_required_and_not_both"),
    "a fallback out of bounds": (options('weir::option<"a", int>{.fallback = 7, .max = 5}'), "the_fallback_is_not_one_of_those_allowed"),
    "a fallback that is no choice": (options('weir::option<"a", std::string>{.fallback = "x", .one_of = {"y"}}'),
                                     "the_fallback_is_not_one_of_those_allowed"),
    "min above max": (options('weir::option<"a", std::optional<int>>{.min = 2, .max = 1}'), "min_is_more_than_max"),
    "an option's name": (options('weir::option<"a b", bool>{.required = true}'), "an_option_is_named_with_a_letter"),
    "two of one name": (options(f"{PREFIX}, {PREFIX}"), "two_options_have_the_same_name"),
    "a bound of a text": (options('weir::option<"a", std::string>{.fallback = "", .min = 1}'), "not_for_this_type"),
    "an option that is not there": (values('(void)v.get<"prefx">();'), "the schema has no option of this name"),
    "an option as another type": (values('(void)v.get<"prefix", int>();'), "the schema gives this option another type"),
    "an option put into another type": (values('int n = v.get<"prefix">(); (void)n;'), "cannot convert|no viable conversion"),
}

include, *compilers = sys.argv[1:]
FLAGS = ["-std=c++20", "-I", include, "-Wall", "-Wextra"]
wrong, tried = [], 0


def compiles(compiler, header, folder, number, source):
    """(whether it does, what the compiler said)"""
    file = folder / f"case{number}.cpp"
    file.write_text(source + "\n")
    done = subprocess.run([compiler, *FLAGS, *header, "-fsyntax-only", file], timeout=120, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout


for compiler in compilers:
    if not shutil.which(compiler):
        print(f"skipped, not here: {compiler}")
        continue
    tried += 1
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        folder = pathlib.Path(name)
        (folder / "all.hpp").write_text("#include <weir/options.hpp>\n#include <string>\n#include <vector>\n")
        clang = "clang" in compiler
        built = folder / ("all.pch" if clang else "all.hpp.gch")
        subprocess.run([compiler, *FLAGS, "-x", "c++-header", folder / "all.hpp", "-o", built], check=True, timeout=120)
        header = ["-include-pch", built] if clang else ["-include", folder / "all.hpp"]
        cases = [(what, source, None) for what, source in RIGHT.items()] + [(what, *both) for what, both in WRONG.items()]
        done = [pool.submit(compiles, compiler, header, folder, n, source) for n, (_, source, _) in enumerate(cases)]
        for (what, _, words), result in zip(cases, done):
            good, said = result.result()
            # The compiler's own quotes differ; the words are looked for in its lines that are errors or notes.
            lines = [line for line in said.splitlines() if re.search("error:|note:", line)]
            as_wanted = good if words is None else not good and any(re.search(words, line) for line in lines)
            if not as_wanted:
                wrong.append(what)
                print(f"WRONG: {compiler}: {what}: {'compiles' if good else 'does not compile'}\n" + "\n".join(l[:300] for l in lines[:8]))
        print(f"{compiler}: {len(RIGHT)} right, {len(WRONG)} wrong ones tried")
if tried == 0:
    sys.exit("no compiler was found")
sys.exit(f"not as it should be: {wrong}" if wrong else 0)
