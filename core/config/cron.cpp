#include "core/config/cron.hpp"

#include <array>
#include <charconv>
#include <ctime>
#include <string>
#include <vector>

#include "core/base/text.hpp"

namespace weir::config {
namespace {

using std::chrono::system_clock;

constexpr std::array<std::string_view, 12> month_names{"jan", "feb", "mar", "apr", "may", "jun",
                                                       "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> day_names{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct field_rule {
  std::string_view name;
  unsigned first, last;
  std::string_view const* names = nullptr;  // of the values from `first` on
  std::size_t named = 0;
};
constexpr std::array<field_rule, 5> rules{{{"minute", 0, 59},
                                           {"hour", 0, 23},
                                           {"day of the month", 1, 31},
                                           {"month", 1, 12, month_names.data(), month_names.size()},
                                           {"day of the week", 0, 7, day_names.data(), day_names.size()}}};

struct shorthand {
  std::string_view name, means;
};
constexpr std::array<shorthand, 7> shorthands{{{"@hourly", "0 * * * *"},
                                               {"@daily", "0 0 * * *"},
                                               {"@midnight", "0 0 * * *"},
                                               {"@weekly", "0 0 * * 0"},
                                               {"@monthly", "0 0 1 * *"},
                                               {"@yearly", "0 0 1 1 *"},
                                               {"@annually", "0 0 1 1 *"}}};
constexpr std::string_view five_fields =
    "five fields: minute hour day-of-month month day-of-week, such as '15 * * * *'";
constexpr std::uint32_t all_hours = (1u << 24) - 1;

bool is_space(char c) { return c == ' ' || c == '\t'; }

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (;;) {
    auto const end = text.find(at);
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at < text.size();) {
    while (at < text.size() && is_space(text[at])) ++at;
    auto const begin = at;
    while (at < text.size() && !is_space(text[at])) ++at;
    if (at > begin) out.push_back(text.substr(begin, at - begin));
  }
  return out;
}

// Reads one field; `whole` is the expression, for messages.
class field_reader {
 public:
  field_reader(field_rule const& rule, std::string_view whole) : rule_(rule), whole_(whole) {}

  base::result<std::uint64_t> read(std::string_view text) const {
    std::uint64_t bits = 0;
    for (auto const part : split(text, ',')) {
      auto const one = range(part);
      if (!one) return one.error();
      bits |= *one;
    }
    return bits;
  }

 private:
  base::error wrong(std::string_view part, std::string const& why, std::string hint = {}) const {
    return base::fail(base::error_code::config,
                      "the " + std::string(rule_.name) + " of the cron expression '" + base::shorten(whole_, 80) +
                          "' " + why + ", is '" + base::shorten(part, 40) + "'",
                      std::move(hint));
  }

  std::string limits() const { return std::to_string(rule_.first) + " to " + std::to_string(rule_.last); }

  base::result<unsigned> number(std::string_view text, std::string_view part) const {
    auto const name = base::lower(text);
    for (std::size_t i = 0; i < rule_.named; ++i)
      if (name == rule_.names[i]) return rule_.first + static_cast<unsigned>(i);
    unsigned value = 0;
    auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc{} || end != text.data() + text.size() || value < rule_.first || value > rule_.last)
      return wrong(part, "must be * or values from " + limits() + (rule_.named ? ", or their English names" : ""));
    return value;
  }

  base::result<std::uint64_t> range(std::string_view part) const {
    auto const slash = part.find('/');
    auto const body = part.substr(0, slash);
    unsigned step = 1;
    if (slash != std::string_view::npos) {
      auto const text = part.substr(slash + 1);
      auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), step);
      if (failed != std::errc{} || end != text.data() + text.size() || step == 0 || step > rule_.last)
        return wrong(part, "must have a step from 1 to " + std::to_string(rule_.last) + " behind '/'");
    }
    unsigned from = rule_.first, to = rule_.last;
    if (body != "*") {
      auto const dash = body.find('-');
      auto const low = number(body.substr(0, dash), part);
      if (!low) return low.error();
      from = to = *low;
      if (dash != std::string_view::npos) {
        auto const high = number(body.substr(dash + 1), part);
        if (!high) return high.error();
        to = *high;
        if (to == 0 && from > 0 && rule_.last == 7) to = 7;  // sat-sun
      } else if (slash != std::string_view::npos) {
        return wrong(
            part, "must have a range or * before the step",
            "'" + std::string(body) + "-" + std::to_string(rule_.last) + "/" + std::to_string(step) + "' starts there");
      }
      if (to < from)
        return wrong(part, "must have ranges that go up",
                     "'" + std::to_string(from) + "-" + std::to_string(rule_.last) + "," + std::to_string(rule_.first) +
                         "-" + std::to_string(to) + "' goes round the end");
    }
    std::uint64_t bits = 0;
    for (auto v = from; v <= to; v += step) bits |= std::uint64_t{1} << v;
    return bits;
  }

  field_rule const& rule_;
  std::string_view whole_;
};

// A minute of local time.
struct local_minute {
  std::tm fields{};
  std::int64_t offset = 0;  // seconds east of UTC
};

local_minute local_of(std::time_t t) {
  local_minute out;
  if (localtime_r(&t, &out.fields) == nullptr) out.fields = {};
  out.offset = out.fields.tm_gmtoff;
  return out;
}

// Minutes of local time since 1970, for comparing.
std::int64_t count_of(std::time_t t, local_minute const& m) { return (t + m.offset) / 60; }

}  // namespace

base::result<cron> cron::parse(std::string_view text) {
  auto const given = text;
  auto parts = words(text);
  if (parts.size() == 1 && parts[0].starts_with('@')) {
    auto const name = base::lower(parts[0]);
    std::vector<std::string> known;
    for (auto const& s : shorthands) {
      known.emplace_back(s.name);
      if (s.name == name) parts = words(s.means);
    }
    if (parts.size() == 1) {
      auto const near = base::nearest(name, known);
      return base::fail(base::error_code::config, "unknown cron expression '" + base::shorten(given, 80) + "'",
                        near ? "did you mean '" + *near + "'?" : "known: " + base::join(known));
    }
  }
  if (parts.size() != rules.size())
    return base::fail(base::error_code::config,
                      "the cron expression '" + base::shorten(given, 80) + "' has " + std::to_string(parts.size()) +
                          (parts.size() == 1 ? " field" : " fields") + ", must have 5",
                      std::string(five_fields));
  std::array<std::uint64_t, 5> bits{};
  for (std::size_t i = 0; i < rules.size(); ++i) {
    auto const read = field_reader(rules[i], given).read(parts[i]);
    if (!read) return read.error();
    bits[i] = *read;
  }
  cron out;
  out.minutes_ = bits[0];
  out.hours_ = static_cast<std::uint32_t>(bits[1]);
  out.days_ = static_cast<std::uint32_t>(bits[2]);
  out.months_ = static_cast<std::uint32_t>(bits[3]);
  out.weekdays_ = static_cast<std::uint32_t>((bits[4] | (bits[4] >> 7)) & 0x7f);  // 7 is Sunday, too
  out.any_day_ = parts[2].starts_with('*');
  out.any_weekday_ = parts[4].starts_with('*');
  return out;
}

std::optional<system_clock::time_point> cron::next(system_clock::time_point now) const {
  auto const day_fits = [&](std::tm const& m) {
    if (!(months_ >> (m.tm_mon + 1) & 1)) return false;
    bool const day = days_ >> m.tm_mday & 1, weekday = weekdays_ >> m.tm_wday & 1;
    return any_day_ || any_weekday_ ? day && weekday : day || weekday;
  };
  auto const fits = [&](std::tm const& m) {
    return day_fits(m) && (hours_ >> m.tm_hour & 1) && (minutes_ >> m.tm_min & 1);
  };
  // Chosen hours come once a day, also where the clock goes back over them or jumps past them; every hour means every
  // hour that there is.
  bool const chosen_hours = hours_ != all_hours;

  auto before = std::chrono::floor<std::chrono::minutes>(now).time_since_epoch().count() * std::time_t{60};
  auto const end = before + std::time_t{5} * 366 * 24 * 3600;
  auto was = local_of(before);
  while (before < end) {
    // To the next hour where this day or this hour cannot be it.
    bool const minute_by_minute = day_fits(was.fields) && (hours_ >> was.fields.tm_hour & 1);
    auto t = before + 60 * (minute_by_minute ? 1 : 60 - was.fields.tm_min);
    auto is = local_of(t);
    if (is.offset != was.offset && t > before + 60) {
      // The clock changes somewhere on the way: look at each minute of it.
      t = before + 60;
      is = local_of(t);
    }
    if (chosen_hours && is.offset > was.offset) {
      for (auto skipped = (t + was.offset) / 60; skipped < count_of(t, is); ++skipped) {
        std::time_t const as_if_utc = skipped * 60;
        std::tm m{};
        gmtime_r(&as_if_utc, &m);
        if (fits(m)) return system_clock::from_time_t(t);  // what would have been in the gap comes right behind it
      }
    }
    if (fits(is.fields)) {
      bool again = false;  // the same local time for the second time
      for (std::time_t back : {1800, 3600, 7200})
        again = again || count_of(t - back, local_of(t - back)) == count_of(t, is);
      if (!(chosen_hours && again)) return system_clock::from_time_t(t);
    }
    before = t;
    was = is;
  }
  return {};
}

}  // namespace weir::config
