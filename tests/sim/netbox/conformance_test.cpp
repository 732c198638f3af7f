// Replays what a real NetBox was asked, and holds the simulated one's answers against the real ones.
#include "core/sim/netbox.hpp"
#include "sim/raw_client.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace {

using nlohmann::json;

// Exchanges that are not replayed, each with its reason. Nothing else may be left out.
std::map<std::string, std::string> const not_covered{
    {"010-device-interface-create", "interfaces are not modelled"},
    {"015-vm-interface-create", "interfaces are not modelled"},
    {"016-mac-address-create", "MAC addresses are not modelled"},
    {"017-vm-interface-primary-mac", "interfaces are not modelled"},
    {"018-vm-disk-create", "virtual disks are not modelled"},
    {"019-vm-disk-conflict", "virtual disks are not modelled"},
    {"020-ip-address-create", "IP addresses are not modelled"},
    {"021-ip-address-duplicate", "IP addresses are not modelled"},
    {"022-vm-primary-ip", "IP addresses are not modelled"},
    {"023-prefix-create", "prefixes are not modelled"},
    {"024-vlan-create", "VLANs are not modelled"},
};

// Members that can never be equal, anywhere in a body.
std::set<std::string> const always_ignored{"created", "last_updated", "time", "request_id"};

// Members that differ in some exchanges only, with the reason.
struct exception {
  std::string exchange;  // the beginning of its name
  std::set<std::string> members;
  std::string reason;
};
std::vector<exception> const exceptions{
    {"001-", {"django-version", "hostname", "installed_apps"}, "the simulator runs no Django"},
    {"002-", {"django-version", "hostname", "installed_apps"}, "the simulator runs no Django"},
    {"041-",
     {"primary_ip", "primary_ip4", "interface_count", "virtual_disk_count"},
     "vm-100 had an IP address, an interface and a disk"},
    {"052-",
     {"primary_ip", "primary_ip4", "interface_count", "virtual_disk_count"},
     "vm-100 had an IP address, an interface and a disk"},
    {"053-",
     {"primary_ip", "primary_ip4", "interface_count", "virtual_disk_count"},
     "vm-100 had an IP address, an interface and a disk"},
    {"054-",
     {"primary_ip", "primary_ip4", "interface_count", "virtual_disk_count"},
     "vm-100 had an IP address, an interface and a disk"},
    {"056-",
     {"primary_ip", "primary_ip4", "interface_count", "virtual_disk_count"},
     "vm-100 had an IP address, an interface and a disk"},
    {"075-",
     {"count", "id", "url", "display_url", "prechange_data", "postchange_data"},
     "changes of objects that are not modelled are missing; data are not kept"},
    {"080-",
     {"primary_ip", "primary_ip4", "interface_count", "virtual_disk_count"},
     "vm-100 had an IP address, an interface and a disk"},
};

void drop(json& value, std::set<std::string> const& members) {
  if (value.is_object())
    for (auto const& name : members) value.erase(name);
  if (value.is_structured())
    for (auto& item : value) drop(item, members);
}

std::string replaced(std::string text, std::string const& from, std::string const& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

using asking = std::function<sim_test::reply(std::string const& method, std::string const& target,
                                             sim_test::header_list const& headers, std::string const& body)>;

std::string without_parameters(std::string const& type) { return type.substr(0, type.find(';')); }

std::vector<weir::sim::netbox_token> const tokens{
    {"nbt_recorded0001.notasecretNOTASECRETnotasecretNOTASECRET", false, {}},
    {"1111111111111111111111111111111111111111", false, {}},
    {"2222222222222222222222222222222222222222", true, {}},
    {"3333333333333333333333333333333333333333", false, {"*:*"}}};

// Asks what the real one was asked; `url` is the simulated one's.
void replay(asking const& ask, std::string const& url) {
  std::ifstream in(WEIR_SOURCE_DIR "/tests/sim/netbox/recorded/exchanges.jsonl");
  ASSERT_TRUE(in);
  std::map<std::string, std::string> etags;  // recorded -> simulated
  std::set<std::string> left_out;
  std::size_t covered = 0;
  std::size_t bodies = 0;
  for (std::string line; std::getline(in, line);) {
    auto const exchange = json::parse(line);
    auto const name = exchange["name"].get<std::string>();
    if (auto const skip = not_covered.find(name); skip != not_covered.end()) {
      left_out.insert(name);
      std::cout << "not covered: " << name << " (" << skip->second << ")\n";
      continue;
    }
    SCOPED_TRACE(name);
    ++covered;
    auto const& request = exchange["request"];
    sim_test::header_list headers;
    for (auto const& [key, value] : request["headers"].items()) {
      auto text = value.get<std::string>();
      if (key == "If-Match" && etags.count(text) != 0) text = etags[text];
      headers.emplace_back(key, text);
    }
    std::string body;
    if (request.contains("body")) body = request["body"].dump();
    if (request.contains("body_text")) body = request["body_text"].get<std::string>();
    auto const got = ask(request["method"], request["target"], headers, body);

    auto const& expected = exchange["response"];
    EXPECT_EQ(got.status, expected["status"].get<int>()) << got.body;
    auto const& expected_headers = expected["headers"];
    EXPECT_EQ(without_parameters(got.header("content-type")),
              without_parameters(expected_headers.value("Content-Type", "")));
    EXPECT_EQ(got.header("allow"), expected_headers.value("Allow", ""));
    auto const location = expected_headers.value("Location", "");
    EXPECT_EQ(replaced(got.header("location"), url, "http://netbox.example"), location);
    auto const etag = expected_headers.value("ETag", "");
    EXPECT_EQ(got.header("etag").empty(), etag.empty());
    // The same text stands for the same version: what was equal in the recording must be equal here.
    if (!etag.empty()) {
      EXPECT_EQ(etags.emplace(etag, got.header("etag")).first->second, got.header("etag"));
    }
    if (!expected.contains("body") || expected["body"].is_null()) {
      if (expected.contains("html")) {
        std::cout << "HTML, compared by status and headers only: " << name << '\n';
      } else {
        EXPECT_EQ(got.body, "");
      }
      continue;
    }
    auto ignored = always_ignored;
    for (auto const& e : exceptions)
      if (name.starts_with(e.exchange)) {
        ignored.insert(e.members.begin(), e.members.end());
        std::cout << "compared in part: " << name << " (" << e.reason << ")\n";
      }
    auto wanted = expected["body"];
    auto actual = json::parse(replaced(got.body, url, "http://netbox.example"), nullptr, false);
    ASSERT_FALSE(actual.is_discarded()) << got.body;
    drop(wanted, ignored);
    drop(actual, ignored);
    ++bodies;
    EXPECT_EQ(actual, wanted) << json::diff(wanted, actual).dump(1);
  }
  EXPECT_EQ(left_out.size(), not_covered.size());
  EXPECT_EQ(covered + left_out.size(), 99U);
  EXPECT_EQ(bodies, 81U);
  std::cout << covered << " exchanges replayed, " << bodies << " JSON bodies compared, " << left_out.size()
            << " not covered\n";
}

}  // namespace

TEST(conformance, answers_as_the_recorded_netbox_did) {
  weir::sim::netbox_options options;
  options.tokens = tokens;
  weir::sim::netbox_server server(options);
  replay([&](auto const& method, auto const& target, auto const& headers,
             auto const& body) { return sim_test::once(server.url(), method, target, headers, body); },
         server.url());
}

TEST(conformance, answers_the_same_without_a_socket) {
  weir::sim::netbox_app app({.tokens = tokens});
  replay(
      [&](auto const& method, auto const& target, auto headers, auto const& body) {
        if (std::none_of(headers.begin(), headers.end(), [](auto const& h) { return h.first == "Host"; }))
          headers.emplace_back("Host", "netbox.example");
        auto const got = app.handle({method, target, headers, body});
        sim_test::reply r;
        r.status = got.status;
        r.body = method == "HEAD" ? "" : got.body;
        for (auto const& [name, value] : got.headers) {
          std::string low = name;
          for (auto& c : low) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
          r.headers[low] = value;
        }
        return r;
      },
      "http://netbox.example");
}
