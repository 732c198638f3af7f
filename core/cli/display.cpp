#include "core/cli/display.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace weir::cli {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;
using state = job_row::state;

// ---- columns

struct range {
  char32_t first, last;
};
// Unicode's combining and invisible characters, and its wide ones (East Asian Width W and F), by their blocks.
constexpr std::array<range, 10> none_wide{{{0x300, 0x36f},
                                           {0x483, 0x489},
                                           {0x591, 0x5bd},
                                           {0x610, 0x61a},
                                           {0x64b, 0x65f},
                                           {0x200b, 0x200f},
                                           {0x202a, 0x202e},
                                           {0x20d0, 0x20f0},
                                           {0xfe00, 0xfe0f},
                                           {0xfe20, 0xfe2f}}};
constexpr std::array<range, 14> two_wide{{{0x1100, 0x115f},
                                          {0x231a, 0x231b},
                                          {0x23e9, 0x23ec},
                                          {0x2e80, 0x303e},
                                          {0x3041, 0x4dbf},
                                          {0x4e00, 0xa4cf},
                                          {0xa960, 0xa97c},
                                          {0xac00, 0xd7a3},
                                          {0xf900, 0xfaff},
                                          {0xfe30, 0xfe6f},
                                          {0xff00, 0xff60},
                                          {0xffe0, 0xffe6},
                                          {0x1f300, 0x1faff},
                                          {0x20000, 0x3fffd}}};

template <std::size_t N>
bool in(std::array<range, N> const& table, char32_t c) {
  return std::any_of(table.begin(), table.end(), [&](range r) { return c >= r.first && c <= r.last; });
}

std::size_t width_of(char32_t c) { return in(none_wide, c) ? 0 : in(two_wide, c) ? 2 : 1; }

// The next character; what is no UTF-8 is one byte, as U+FFFD.
struct character {
  char32_t code;
  std::size_t bytes;
};
character next(std::string_view text) {
  auto const lead = static_cast<unsigned char>(text[0]);
  std::size_t const bytes = lead < 0x80 ? 1 : lead >= 0xf0 && lead < 0xf5 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (bytes == 1) return {lead, 1};
  if (bytes == 0 || lead >= 0xf5 || text.size() < bytes) return {0xfffd, 1};
  char32_t code = lead & (0xffu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    auto const c = static_cast<unsigned char>(text[i]);
    if ((c & 0xc0u) != 0x80u) return {0xfffd, 1};
    code = (code << 6) | (c & 0x3fu);
  }
  return {code, bytes};
}

constexpr std::string_view green = "\x1b[32m", red = "\x1b[31m", plain = "\x1b[0m";

std::size_t escape_at(std::string_view text) {
  for (auto const e : {green, red, plain})
    if (text.starts_with(e)) return e.size();
  return 0;
}

std::string padded(std::string text, std::size_t width) {
  auto const is = columns(text);
  return is < width ? text + std::string(width - is, ' ') : text;
}
std::string right(std::string const& text, std::size_t width) {
  auto const is = columns(text);
  return is < width ? std::string(width - is, ' ') + text : text;
}

// ---- a stage's row

bool with_bar(job_row const& j) { return (j.now == state::reading || j.now == state::writing) && j.total > 0; }

std::string count_text(job_row const& j) { return fmt::format("{}/{}", j.done, j.total); }
std::string rate_text(job_row const& j) {
  return j.per_second <= 0 ? "" : fmt::format("{:.{}f}/s", j.per_second, j.per_second < 99.95 ? 1 : 0);
}
std::string left_text(job_row const& j) { return j.left_s ? duration_text(*j.left_s) + " left" : ""; }
std::string state_text(job_row const& j) {
  if (j.now == state::writing) return fmt::format("batch {}/{}", j.batch, j.batches);
  return j.note.empty() ? "reading" : "reading " + j.note;
}

class painter {
 public:
  explicit painter(bool on) : on_(on) {}
  std::string operator()(std::string_view colour, std::string const& text) const {
    return on_ ? fmt::format("{}{}{}", colour, text, plain) : text;
  }

 private:
  bool on_;
};

// A row without a bar: what is left of the line after the name.
std::string words(job_row const& j, bool dry, std::size_t room, painter const& paint) {
  auto const ended = [&](std::string const& word, std::string_view colour) {
    auto const text = fit(j.note.empty() ? word : word + ": " + j.note, room);
    if (colour.empty() || text.size() < word.size()) return text;
    return paint(colour, word) + text.substr(word.size());
  };
  switch (j.now) {
    case state::waiting:
      return fit("waiting", room);
    case state::reading:
      return fit(state_text(j), room);
    case state::comparing:
      return fit("comparing with NetBox", room);
    case state::writing:
      return fit("writing", room);
    case state::ok: {
      std::string const word = dry ? "planned" : "done";
      auto const took = fmt::format("{:.1f} s", j.seconds);
      auto const text = fmt::format("{}  + {}  ~ {}  - {}  {}", word, j.created, j.updated, j.deleted, took);
      if (columns(text) > room) return fit(word, room);
      return fmt::format("{}  {}  ~ {}  {}  {}", paint(green, word),
                         j.created ? paint(green, fmt::format("+ {}", j.created)) : "+ 0", j.updated,
                         j.deleted ? paint(red, fmt::format("- {}", j.deleted)) : "- 0", took);
    }
    case state::failed:
      return ended("failed", red);
    case state::skipped:
      return ended("skipped", "");
    case state::stopped:
      return ended("stopped", "");
  }
  return "";
}

std::string bar(job_row const& j, std::size_t width, bool unicode) {
  auto const share = std::min(1.0, static_cast<double>(j.done) / static_cast<double>(j.total));
  auto const filled = static_cast<std::size_t>(share * static_cast<double>(width));
  std::string out;
  for (std::size_t i = 0; i < width; ++i) out += i < filled ? (unicode ? "█" : "#") : (unicode ? "░" : ".");
  return out;
}

// Columns of the rows with bars, the same for all of them. 0: left out.
struct layout {
  std::size_t name = 0, bar = 0, count = 0, rate = 0, left = 0, state = 0;
};

constexpr std::size_t smallest_bar = 8, largest_bar = 40, between = 2;

layout lay_out(std::vector<job_row const*> const& jobs, std::vector<std::string> const& names, std::size_t room) {
  layout l;
  for (auto const& n : names) l.name = std::max(l.name, columns(n));
  l.name = std::min(l.name, room / 3);
  for (auto const* j : jobs) {
    if (!with_bar(*j)) continue;
    // Counts and times grow and shrink while people watch: their columns do not.
    l.count = std::max({l.count, std::size_t{9}, 2 * std::to_string(j->total).size() + 1});
    l.rate = std::max(l.rate, std::size_t{7});
    l.left = std::max(l.left, std::size_t{10});
    l.state = std::max({l.state, columns(state_text(*j)), std::size_t{11}});
  }
  if (l.count == 0) return l;
  l.state = std::min(l.state, room / 4);
  auto const rest = [&] {
    std::size_t used = l.name;
    for (auto const w : {l.count, l.rate, l.left, l.state})
      if (w) used += between + w;
    used += between;  // of the bar
    return used < room ? room - used : 0;
  };
  for (auto* least : {&l.state, &l.rate, &l.left}) {
    if (rest() >= smallest_bar) break;
    *least = 0;
  }
  l.bar = std::min(rest(), largest_bar);
  if (l.bar < smallest_bar) l.bar = 0;
  return l;
}

std::string row(job_row const& j, std::string const& name, layout const& l, bool dry, std::size_t room,
                screen const& on) {
  auto line = padded(fit(name, l.name), l.name);
  auto const append = [&](std::string const& text) { line += std::string(between, ' ') + text; };
  if (!with_bar(j)) {
    append(words(j, dry, room - std::min(room, l.name + between), painter(on.colour)));
  } else {
    if (l.bar) append(bar(j, l.bar, on.unicode));
    append(right(count_text(j), l.count));
    if (l.rate) append(right(rate_text(j), l.rate));
    if (l.left) append(right(left_text(j), l.left));
    if (l.state) append(fit(state_text(j), l.state));
  }
  line = fit(line, room);
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

// ---- the gate's row

struct piece {
  std::string full, brief;
  int importance;  // what has less goes first
};

std::string breaker_text(gate_row const& g, bool brief) {
  std::string const what = brief ? "" : "breaker ";
  if (g.gave_up) return brief ? "gave up" : "gave up: the rest is deferred";
  if (g.circuit == throttle::breaker::state::half_open) return what + "probing";
  if (g.circuit == throttle::breaker::state::open)
    return what + "open" +
           (g.probe_in_s && *g.probe_in_s >= 1 ? fmt::format(", probe in {:.0f} s", *g.probe_in_s) : "");
  return g.starved ? std::string(brief ? "no database connection" : "NetBox's database has no connection to spare")
                   : what + "closed";
}

std::vector<piece> gate_pieces(gate_row const& g) {
  auto const gap = g.gap.count() >= 1000 ? fmt::format("{:.1f} s", static_cast<double>(g.gap.count()) / 1000)
                                         : fmt::format("{} ms", g.gap.count());
  return {{fmt::format("{} in flight, limit {} of {}", g.in_flight, g.limit, g.ceiling),
           fmt::format("{}/{}/{} in flight", g.in_flight, g.limit, g.ceiling), 6},
          {fmt::format("{} waiting", g.waiting), fmt::format("{} waiting", g.waiting), 3},
          {"gap " + gap, "gap " + gap, 2},
          {fmt::format("{:.1f} requests/s", g.requests_per_second), fmt::format("{:.1f}/s", g.requests_per_second), 4},
          {breaker_text(g, false), breaker_text(g, true), 5}};
}

std::string joined(std::vector<piece> const& pieces, bool brief, bool unicode) {
  std::string out;
  for (auto const& p : pieces) out += (out.empty() ? "" : unicode ? " · " : " | ") + (brief ? p.brief : p.full);
  return out;
}

std::string gate_line(display_state const& s, std::size_t room, bool unicode) {
  std::vector<piece> pieces;
  if (s.gate)
    pieces = gate_pieces(*s.gate);
  else
    pieces.push_back({"connecting", "connecting", 6});
  pieces.push_back({duration_text(s.seconds), duration_text(s.seconds), 1});
  std::string const lead = s.stopping ? "stopping  NetBox  " : "NetBox  ";
  for (bool const brief : {false, true})
    if (auto line = lead + joined(pieces, brief, unicode); columns(line) <= room) return line;
  while (pieces.size() > 1) {
    pieces.erase(std::min_element(pieces.begin(), pieces.end(),
                                  [](auto const& a, auto const& b) { return a.importance < b.importance; }));
    if (auto line = joined(pieces, true, unicode); columns(line) <= room) return line;
  }
  return fit(joined(pieces, true, unicode), room);
}

// Rows in their order; where they are too many, those that do something, then those that failed, then the rest.
std::vector<job_row const*> chosen(std::vector<job_row> const& jobs, std::size_t most) {
  std::vector<job_row const*> all;
  for (auto const& j : jobs) all.push_back(&j);
  if (all.size() <= most) return all;
  auto const weight = [](job_row const* j) {
    switch (j->now) {
      case state::writing:
      case state::comparing:
      case state::reading:
        return 0;
      case state::failed:
      case state::stopped:
        return 1;
      case state::waiting:
        return 2;
      default:
        return 3;
    }
  };
  auto ranked = all;
  std::stable_sort(ranked.begin(), ranked.end(), [&](auto const* a, auto const* b) { return weight(a) < weight(b); });
  ranked.resize(most > 0 ? most - 1 : 0);  // one line sums up the others
  std::erase_if(all, [&](auto const* j) { return std::find(ranked.begin(), ranked.end(), j) == ranked.end(); });
  return all;
}

std::string summed_up(std::vector<job_row> const& jobs, std::vector<job_row const*> const& shown, bool dry) {
  std::map<state, std::size_t> count;
  for (auto const& j : jobs)
    if (std::find(shown.begin(), shown.end(), &j) == shown.end()) ++count[j.now];
  std::string out;
  auto const add = [&](std::initializer_list<state> which, std::string_view word) {
    std::size_t n = 0;
    for (auto w : which) n += count[w];
    if (n) out += fmt::format("{}{} {}", out.empty() ? "and " : ", ", n, word);
  };
  add({state::reading, state::comparing, state::writing}, "at work");
  add({state::waiting}, "waiting");
  add({state::ok}, dry ? "planned" : "done");
  add({state::failed}, "failed");
  add({state::skipped, state::stopped}, "skipped or stopped");
  return out;
}

}  // namespace

std::size_t columns(std::string_view utf8) {
  std::size_t out = 0;
  while (!utf8.empty()) {
    if (auto const n = escape_at(utf8)) {
      utf8.remove_prefix(n);
      continue;
    }
    auto const c = next(utf8);
    out += width_of(c.code);
    utf8.remove_prefix(c.bytes);
  }
  return out;
}

std::string fit(std::string_view utf8, std::size_t width) {
  bool const cut = columns(utf8) > width;
  std::size_t const most = cut && width > 0 ? width - 1 : width;
  std::string out;
  bool painted = false;
  for (std::size_t used = 0; !utf8.empty();) {
    if (auto const n = escape_at(utf8)) {
      painted = utf8.substr(0, n) != plain;
      out += utf8.substr(0, n);
      utf8.remove_prefix(n);
      continue;
    }
    auto const c = next(utf8);
    auto const w = width_of(c.code);
    if (used + w > most) break;
    used += w;
    if (c.code < 0x20 || (c.code >= 0x7f && c.code < 0xa0))
      out += ' ';
    else if (c.code == 0xfffd)
      out += "\xef\xbf\xbd";
    else
      out += utf8.substr(0, c.bytes);
    utf8.remove_prefix(c.bytes);
  }
  if (painted) out += plain;
  return cut && width > 0 ? out + "…" : out;
}

std::string duration_text(double seconds) {
  auto const s = static_cast<std::uint64_t>(std::clamp(seconds, 0.0, 86'400'000.0));
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  if (s < 86'400) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d{:02}h", s / 86'400, s / 3600 % 24);
}

std::string name_of(job_row const& j) { return j.source.empty() ? j.stage : j.source + " " + j.stage; }

std::string describe(job_row const& j) {
  auto const name = name_of(j);
  switch (j.now) {
    case state::waiting:
      return name + ": waiting";
    case state::reading:
      return j.total ? fmt::format("{}: reading {}/{} {}", name, j.done, j.total, j.note)
                     : name + ": reading" + (j.note.empty() ? "" : " " + j.note);
    case state::comparing:
      return name + ": comparing with NetBox";
    case state::writing:
      return fmt::format("{}: {}/{} objects, batch {} of {}, {:.1f} requests/s", name, j.done, j.total, j.batch,
                         j.batches, j.requests_per_second);
    case state::ok:
      return fmt::format("{}: done in {:.1f} s", name, j.seconds);
    case state::failed:
      return name + ": failed: " + j.note;
    case state::skipped:
      return name + ": skipped: " + j.note;
    case state::stopped:
      return name + ": stopped: " + j.note;
  }
  return name;
}

std::string describe(gate_row const& gate) { return "NetBox: " + joined(gate_pieces(gate), false, false); }

std::vector<std::string> rows(display_state const& s, screen const& on) {
  std::size_t const room = on.width > 1 ? on.width - 1 : 1;  // a character in the last column may wrap
  std::size_t const most = on.height > 4 ? on.height - 3 : 1;
  auto const shown = chosen(s.jobs, most);
  bool several = false;
  for (auto const& j : s.jobs) several = several || (!j.source.empty() && j.source != s.jobs.front().source);
  std::vector<std::string> names;
  for (auto const* j : shown) names.push_back(several ? name_of(*j) : j->stage);
  auto const l = lay_out(shown, names, room);
  std::vector<std::string> out;
  for (std::size_t i = 0; i < shown.size(); ++i) out.push_back(row(*shown[i], names[i], l, s.dry, room, on));
  if (shown.size() < s.jobs.size()) out.push_back(fit(summed_up(s.jobs, shown, s.dry), room));
  out.push_back(gate_line(s, room, on.unicode));
  if (!on.unicode)
    for (auto& line : out)
      for (std::size_t at; (at = line.find("…")) != std::string::npos;) line.replace(at, std::string("…").size(), "~");
  return out;
}

void speed::at(time now, std::uint64_t count) {
  samples_.push_back({now, count});
  while (samples_.size() > 2 && now - samples_[1].when > window_) samples_.pop_front();
}

double speed::per_second(time now) const {
  if (samples_.size() < 2 || now - samples_.back().when > window_) return 0;
  auto const seconds = std::chrono::duration<double>(now - samples_.front().when).count();
  auto const grown = samples_.back().count - std::min(samples_.front().count, samples_.back().count);
  return seconds < 0.3 ? 0 : static_cast<double>(grown) / seconds;
}

bool plain_pace::after_batch(time now, std::string const& job, std::size_t batch, std::size_t batches, bool at_end) {
  auto& said = said_[job];
  if (batch < said + 10 && !(at_end && batch > said)) return false;
  said = at_end ? batches : batch;
  last_ = now;
  return true;
}

bool plain_pace::due(time now) {
  if (now - last_ < 30s) return false;
  last_ = now;
  return true;
}

}  // namespace weir::cli
