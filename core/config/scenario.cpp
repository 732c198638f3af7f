#include "core/config/scenario.hpp"

#include <algorithm>
#include <map>

#include "core/base/text.hpp"
#include "core/config/check.hpp"
#include "core/config/profiles.hpp"

namespace weir::config {
namespace {

constexpr std::size_t most_objects = 1'000'000;  // in all: bounds a simulation's time and memory

class scenario_reader {
 public:
  scenario_reader(yaml::document const& doc, std::vector<diagnostic>& errors)
      : check_(doc, schema::document::scenario, errors) {}

  scenario read() {
    scenario s;
    auto const root = check_.root();
    s.description = root["description"].text();
    s.seed = static_cast<std::uint64_t>(std::max(0LL, root["seed"].integer()));
    s.start_s = root["start_s"].number();
    read_server(root["netbox"], s.server);
    s.users_per_second = root["users"]["per_second"].number();
    s.user_work_ms = root["users"]["work_ms"].number();
    read_works(root, s);
    for (auto const& v : root["events"].children()) s.events.push_back(read_event(v));
    for (auto const& profile : root["expect"].children())
      for (auto const& figure : profile.children()) {
        auto const [low, high] = figure.range();
        s.expectations.push_back(
            {profile.node()->key, figure.node()->key, low, high, check_.location(figure.node()->at)});
      }
    return s;
  }

 private:
  static void read_server(view const& v, scenario::netbox& n) {
    n.workers = static_cast<int>(v["workers"].integer());
    n.threads = static_cast<int>(v["threads"].integer());
    n.cores = v["cores"].number();
    n.next_core = v["next_core"].number();
    n.connections = static_cast<int>(v["connections"].integer());
    n.conn_max_age_s = v["conn_max_age_s"].number();
    n.proxy_timeout_s = v["proxy_timeout_s"].number();
    n.jitter = v["jitter"].number();
    auto const costs = v["costs"];
    n.read_base_ms = costs["read_base"].number();
    n.read_object_ms = costs["read_object"].number();
    n.db_error_ms = costs["db_error"].number();
  }

  void read_works(view const& root, scenario& s) {
    auto const costs = root["netbox"]["costs"];
    std::size_t all = 0;
    for (auto const& v : root["work"].children()) {
      scenario::work w;
      w.kind = v["kind"].text();
      w.objects = static_cast<std::size_t>(std::max(0LL, v["objects"].integer()));
      auto const factor = v["factor"], base = v["write_base_ms"], object = v["write_object_ms"];
      auto const& own = base.node() != nullptr ? base : object;
      if (factor.node() != nullptr && own.node() != nullptr)
        check_.complain(factor, factor.path() + " and " + own.path() + " are both given",
                        "a factor of netbox.costs, or costs of its own");
      w.write_base_ms = base.present() ? base.number() : costs["write_base"].number() * factor.number();
      w.write_object_ms = object.present() ? object.number() : costs["write_object"].number() * factor.number();
      all += w.objects;
      if (all > most_objects && all - w.objects <= most_objects)
        check_.complain(v["objects"],
                        "work is more than " + std::to_string(most_objects) + " objects in all, which nobody waits for",
                        "a tenth of it shows the same");
      s.works.push_back(std::move(w));
    }
  }

  scenario::event read_event(view const& v) {
    scenario::event e;
    auto const what = v["what"], from = v["from_s"], to = v["to_s"];
    e.what = what.text();
    e.from_s = from.number();
    e.to_s = to.number();
    e.share = v["share"].number();
    if (from.present() && to.present() && e.from_s >= e.to_s)
      check_.complain(to, to.path() + " must be after from_s, is " + base::shorten(to.node()->text, 40));
    if (!what.present()) return e;
    auto const takes = [&](view const& number, std::initializer_list<std::string_view> events, bool needed, double low,
                           double& out) {
      if (std::find(events.begin(), events.end(), e.what) == events.end()) {
        if (number.node() != nullptr)
          check_.complain_at_key(number, number.path() + " means nothing for " + e.what,
                                 "it belongs to " + base::join({events.begin(), events.end()}, " or "));
      } else if (number.node() == nullptr && needed) {
        check_.complain_at_key(v, number.path() + " is missing", std::string(number.key()->help));
      } else if (number.present()) {
        out = number.number();
        if (out < low)
          check_.complain(number, number.path() + " must be at least 1 for " + e.what + ", is " +
                                      base::shorten(number.node()->text, 40));
      }
    };
    takes(v["amount"], {"neighbour", "burst", "too_many"}, e.what != "too_many", e.what == "too_many" ? 0 : 1,
          e.amount);
    takes(v["factor"], {"slow"}, true, 1, e.factor);
    takes(v["share"], {"neighbour"}, false, 0, e.share);
    return e;
  }

  checker check_;
};

}  // namespace

scenario_outcome load_scenario_text(std::string_view text, std::string const& name) {
  scenario_outcome out;
  auto const doc = yaml::parse(text, name);
  out.errors = doc.errors;
  if (!doc.usable) return out;
  auto value = scenario_reader(doc, out.errors).read();
  value.file = name;
  std::stable_sort(out.errors.begin(), out.errors.end(), [](diagnostic const& a, diagnostic const& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  if (out.errors.empty()) out.value = std::move(value);
  return out;
}

scenario_outcome load_scenario(std::filesystem::path const& file) {
  if (auto const text = read_text(file)) {
    return load_scenario_text(*text, file.string());
  } else {
    scenario_outcome out;
    diagnostic d;
    d.file = file.string();
    d.summary = text.error().what;
    d.detail = text.error().hint;
    out.errors.push_back(std::move(d));
    return out;
  }
}

}  // namespace weir::config
