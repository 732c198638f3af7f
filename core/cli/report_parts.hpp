// The parts of a run's result as JSON: the same in the one object of --output json and in the events of ndjson.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "core/engine/report.hpp"

namespace weir::cli {

using json_object = nlohmann::ordered_json;

json_object json_of(base::error const& e);
json_object json_of(config::profile const& p);
json_object json_of(throttle::throttle_state const& t);
json_object json_of(engine::source_report const& s);
json_object json_of(engine::job_report const& job);
json_object json_of(engine::failure const& f);
json_object json_of(engine::notice const& n);
// What a run came to, without its stages, changes, failures and notices.
json_object totals_of(engine::report const& r);
// Each change that a stage's plan makes, in the order in which it is made.
void each_change(engine::job_report const& job, std::function<void(json_object&&)> const& to);
// What a stage's plan leaves: people's edits, and objects that are gone from the source.
void each_kept(engine::job_report const& job, std::function<void(json_object&&)> const& edit,
               std::function<void(json_object&&)> const& object);

std::string text_of(json_object const& j, int indent = -1);  // bytes that are no UTF-8 are replaced

}  // namespace weir::cli
