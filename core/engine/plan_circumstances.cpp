#include "core/engine/plan_circumstances.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/sha256.hpp"
#include "core/netbox/value.hpp"
#include "core/store/files.hpp"

namespace weir::engine {

using netbox::dump;
using nlohmann::json;

namespace {

base::result<std::string> hash_of(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  base::sha256 d;
  std::array<char, 1 << 16> part{};
  while (in.read(part.data(), part.size()) || in.gcount() > 0)
    d.add({part.data(), static_cast<std::size_t>(in.gcount())});
  if (!in.eof()) return base::fail("the plugin " + file.string() + " cannot be read: " + store::system_words(errno));
  return d.hex();
}

// In whatever order they were written.
json as_set(std::vector<std::string> const& all) { return std::set<std::string>(all.begin(), all.end()); }

json as_json(config::selection const& s) {
  return {{"nodes", as_set(s.nodes)},   {"pools", as_set(s.pools)},
          {"tags", as_set(s.tags)},     {"vmids", as_set(s.vmids)},
          {"names", as_set(s.names)},   {"storages", as_set(s.storages)},
          {"states", as_set(s.states)}, {"templates", s.templates ? json(*s.templates) : json()}};
}

}  // namespace

base::result<plan_circumstances> circumstances_of(config::configuration const& settings, run_options const& options) {
  plan_circumstances out;
  out.netbox_url = settings.netbox.url;
  auto const add = [&](std::string title, json const& what) {
    out.parts.emplace_back(std::move(title), base::sha256_of(dump(what)).substr(0, 16));
  };
  for (auto const& s : settings.sources) {
    if (!options.sources.empty() && !options.sources.contains(s.name)) continue;
    json scope{{"include", as_json(s.scope.include)}, {"exclude", as_json(s.scope.exclude)}};
    // Which of them is asked first, and how, is nothing to a plan.
    std::set<std::string> urls;
    for (auto const& url : s.urls) urls.insert(store::normalised_url(url));
    add("sources." + s.name, {{"type", s.type}, {"urls", urls}});
    add("sources." + s.name + ".scope", scope);
  }
  for (auto const& s : options.stages) {
    auto const chosen = options.stage_options.find(s.id);
    auto const from = options.stage_sources.find(s.id);
    add("stages." + s.id,
        {{"options", chosen == options.stage_options.end() ? json() : json::parse(chosen->second, nullptr, false)},
         {"sources", from == options.stage_sources.end() ? json() : as_set(from->second)}});
    auto const hash = hash_of(s.file);
    if (!hash) return hash.error();
    out.plugins.emplace_back(s.id, s.version + " " + *hash);
  }
  std::map<std::string, json> rules;
  for (auto const& r : settings.rules)
    rules[r.kind] = {{"fields", r.fields},
                     {"adopt", r.adopt ? json(*r.adopt) : json()},
                     {"orphans", r.orphans ? json(*r.orphans) : json()},
                     {"grace", r.grace ? json(r.grace->count()) : json()},
                     {"max_deletes", r.max_deletes ? json(*r.max_deletes) : json()},
                     {"percent", r.max_deletes_percent ? json(*r.max_deletes_percent) : json()}};
  for (auto const& [kind, its] : rules) add("rules." + kind, its);
  add("adopt", settings.adopt);
  add("max_deletes", {settings.max_deletes, settings.max_deletes_percent});
  std::string all;
  for (auto const& [title, hash] : out.parts) all += title + " " + hash + "\n";
  out.configuration = base::sha256_of(all);
  return out;
}

std::vector<std::string> changed_since(plan_circumstances const& then, plan_circumstances const& now) {
  std::vector<std::string> out;
  if (store::normalised_url(then.netbox_url) != store::normalised_url(now.netbox_url))
    out.push_back("it is for NetBox at " + then.netbox_url + ", and the configuration names " + now.netbox_url);
  std::map<std::string, std::string> const parts(now.parts.begin(), now.parts.end());
  for (auto const& [title, hash] : then.parts) {
    auto const found = parts.find(title);
    if (found == parts.end()) {
      if (!title.starts_with("stages.")) out.push_back("the configuration no longer has " + title);
    } else if (found->second != hash) {
      out.push_back("the configuration has changed: " + title);
    }
  }
  for (auto const& [title, hash] : now.parts)
    if (title.starts_with("rules.") &&
        std::none_of(then.parts.begin(), then.parts.end(), [&t = title](auto const& p) { return p.first == t; }))
      out.push_back("the configuration has changed: " + title + " is new");
  std::map<std::string, std::string> const plugins(now.plugins.begin(), now.plugins.end());
  for (auto const& [stage, version] : then.plugins) {
    auto const found = plugins.find(stage);
    auto const words = [](std::string const& v) { return v.substr(0, v.find(' ') + 9); };
    if (found == plugins.end())
      out.push_back("the stage " + stage + " is no longer there");
    else if (found->second != version)
      out.push_back("the plugin of the stage " + stage + " was " + words(version) + ", is " + words(found->second));
  }
  return out;
}

}  // namespace weir::engine
