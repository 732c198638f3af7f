#include "core/plugin/stage_json.hpp"

#include <nlohmann/json.hpp>

namespace weir::plugin {

using json = nlohmann::json;

std::string to_json(load_report const& report) {
  auto out = json{{"stages", json::array()}, {"problems", json::array()}};
  for (auto const& s : report.stages)
    out["stages"].push_back({{"id", s.id},
                             {"version", s.version},
                             {"title", s.title},
                             {"needs", s.needs},
                             {"source_type", s.source_type},
                             {"kinds", s.kinds_json},
                             {"options", s.options_schema},
                             {"plugin", s.plugin_name},
                             {"plugin_version", s.plugin_version},
                             {"vendor", s.vendor}});
  for (auto const& p : report.problems) out["problems"].push_back({{"what", p.what}, {"hint", p.hint}});
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

base::result<load_report> report_from_json(std::string const& text) {
  try {
    load_report report;
    auto const in = json::parse(text);
    for (auto const& s : in.at("stages")) {
      loaded_stage one;
      s.at("id").get_to(one.id);
      s.at("version").get_to(one.version);
      s.at("title").get_to(one.title);
      s.at("needs").get_to(one.needs);
      s.at("source_type").get_to(one.source_type);
      s.at("kinds").get_to(one.kinds_json);
      s.at("options").get_to(one.options_schema);
      s.at("plugin").get_to(one.plugin_name);
      s.at("plugin_version").get_to(one.plugin_version);
      s.at("vendor").get_to(one.vendor);
      report.stages.push_back(std::move(one));
    }
    for (auto const& p : in.at("problems"))
      report.problems.push_back(
          base::fail(base::error_code::config, p.at("what").get<std::string>(), p.at("hint").get<std::string>()));
    return report;
  } catch (json::exception const&) {
    return base::fail("it is no description of a plugin");
  }
}

}  // namespace weir::plugin
