// pools-to-tags: one NetBox tag per Proxmox VE pool.
#pragma once
#include <algorithm>
#include <string>
#include <vector>
#include <weir/json.hpp>
#include <weir/options.hpp>

class pools_to_tags {
 public:
  static constexpr auto options = weir::schema(
      weir::option<"prefix", std::string>{.help = "what the tags' names begin with", .fallback = "pool-"},
      weir::option<"color", std::string>{
          .help = "of the tags", .fallback = "9e9e9e", .one_of = {"9e9e9e", "2196f3", "4caf50", "f44336"}},
      weir::option<"skip", std::vector<std::string>>{.help = "pools that get no tag"},
      weir::option<"members", bool>{.help = "count what each pool holds, one request for each", .fallback = true});
  static constexpr weir::info about{.id = "pools-to-tags",
                                    .version = "1.0.0",
                                    .title = "Proxmox pools as tags",
                                    .kinds_json = R"(["extras.tag"])",
                                    .options_schema = weir::json_schema<options>};

  explicit pools_to_tags(weir::context const& c) : options_(c) {}

  void collect(weir::run& run) const {
    auto const skip = options_.get<"skip">();
    std::vector<std::string> ids, targets, held;
    std::vector<std::string> comments;
    for (auto const& pool : weir::fetch(run, "/pools")) {
      auto id = pool.at("poolid").get<std::string>();
      if (std::find(skip.begin(), skip.end(), id) != skip.end()) continue;
      targets.push_back("/pools/" + id);
      comments.push_back(pool.value("comment", ""));
      ids.push_back(std::move(id));
    }
    if (ids.empty()) run.notice(weir::level::info, "the token sees no pool", "give it Pool.Audit on /pool");

    held.resize(ids.size());
    if (options_.get<"members">())
      run.fetch_many(targets, [&](std::size_t i, weir::reply const& reply) {
        // One pool that cannot be read costs what would have been said about it, nothing else.
        try {
          if (!reply.ok()) throw weir::source_error(std::string(reply.error()), reply.http_status());
          held[i] = count(weir::data(targets[i], reply));
        } catch (weir::source_error const& e) {
          run.notice(weir::level::warn, "what pool " + ids[i] + " holds is not known: " + e.what());
        }
      });

    for (std::size_t i = 0; i < ids.size(); ++i) {
      auto const name = options_.get<"prefix">() + ids[i];
      weir::json fields{{"name", name}, {"color", options_.get<"color">()}};
      // What is not known is left as it is in NetBox.
      if (auto said = comments[i] + (comments[i].empty() || held[i].empty() ? "" : ", ") + held[i]; !said.empty())
        fields["description"] = std::move(said);
      weir::emit(run, "extras.tag", {{"slug", slug(name)}}, fields);
      run.progress(i + 1, ids.size(), ids[i]);
    }
  }

 private:
  // "2 guests"; empty for none.
  static std::string count(weir::json const& pool) {
    auto const members = pool.value("members", weir::json::array());
    auto const guests = std::count_if(members.begin(), members.end(), [](weir::json const& m) {
      auto const type = m.value("type", "");
      return type == "qemu" || type == "lxc";
    });
    return guests == 0 ? "" : std::to_string(guests) + (guests == 1 ? " guest" : " guests");
  }
  // NetBox's slugs are lower-case letters, digits, '-' and '_'.
  static std::string slug(std::string text) {
    for (char& c : text) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')) c = '-';
    }
    return text;
  }

  weir::values<options> options_;
};
