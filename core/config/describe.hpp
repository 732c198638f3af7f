// The table of keys for people and for editors: explanations, the reference, JSON Schemas.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/schema.hpp"

namespace weir::config {

// What a plugin says about the options of one of its stages.
struct stage_options {
  struct row {
    std::string name, expected, fallback, description;  // fallback: JSON; empty: none
    bool required = false;
  };
  std::string id, title;
  std::string schema_json;  // JSON Schema; empty: it takes none
  std::vector<row> rows;
};

// All that is known about one key. What there is not is empty.
struct explanation {
  std::string key;       // as asked for: "sources.pve-a.timeout", "stages.backups.keep"
  std::string where;     // "configuration", "profile", "stage"
  std::string type;      // "a whole number"
  std::string fallback;  // the default, as YAML
  std::string limits;    // "between 1 and 100"
  std::vector<std::string> allowed, variables;
  std::string help, example;  // example: lines of YAML
  bool required = false;
  std::vector<std::string> children;  // names of the keys inside
};
// A key by any name where the table has "*", or a variable's name. Nothing if there is none; `near` is then the
// nearest.
std::optional<explanation> explain(std::string_view key, std::vector<stage_options> const& stages, std::string& near);
// Every key of configuration and profiles, in the table's order, with its pattern.
std::vector<explanation> explain_all(std::vector<stage_options> const& stages);

// JSON Schema, draft 7, of a configuration or a profile; the stages' own schemas stand under stages.<id>.
std::string json_schema(schema::document which, std::vector<stage_options> const& stages);
// All keys, as Markdown.
std::string reference(std::vector<stage_options> const& stages);

}  // namespace weir::config
