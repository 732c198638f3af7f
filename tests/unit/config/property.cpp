// A configuration written as YAML and read again is the same one.
#include <rapidcheck.h>

#include "core/config/values.hpp"
#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;

// Double-quoted YAML; every character that has a meaning there is escaped.
std::string double_quoted(std::string const& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return out + "\"";
}

rc::Gen<std::string> word(std::string const& alphabet, int shortest, int longest) {
  return rc::gen::mapcat(rc::gen::inRange(shortest, longest + 1), [=](int n) {
    return rc::gen::container<std::string>(static_cast<std::size_t>(n), rc::gen::elementOf(alphabet));
  });
}
rc::Gen<std::string> name() {
  return rc::gen::map(rc::gen::pair(word("abcXYZ019", 1, 1), word("abcXYZ019_.-", 0, 20)),
                      [](std::pair<std::string, std::string> const& p) { return p.first + p.second; });
}

// YAML flow text and the JSON that it must become.
struct both {
  std::string yaml, json;
};
both option_value(int depth) {
  switch (*rc::gen::inRange(0, depth > 0 ? 6 : 4)) {
    case 0:
      return {"null", "null"};
    case 1:
      return *rc::gen::arbitrary<bool>() ? both{"true", "true"} : both{"false", "false"};
    case 2: {
      auto const n = std::to_string(*rc::gen::arbitrary<std::int64_t>());
      return {n, n};
    }
    case 3: {
      auto const text = *word("ab \"\\:#-{}[],&*!|>'%@`~\n\t0", 0, 12);
      std::string json = "\"";
      for (char c : text) {
        if (c == '"' || c == '\\')
          json += std::string("\\") + c;
        else if (c == '\n')
          json += "\\n";
        else if (c == '\t')
          json += "\\u0009";
        else
          json += c;
      }
      return {double_quoted(text), json + "\""};
    }
    default: {
      bool const map = *rc::gen::arbitrary<bool>();
      both out{map ? "{" : "[", map ? "{" : "["};
      int const n = *rc::gen::inRange(0, 4);
      for (int i = 0; i < n; ++i) {
        if (i > 0) out.yaml += ", ", out.json += ",";
        if (map) out.yaml += "k" + std::to_string(i) + ": ", out.json += "\"k" + std::to_string(i) + "\":";
        auto const child = option_value(depth - 1);
        out.yaml += child.yaml;
        out.json += child.json;
      }
      out.yaml += map ? "}" : "]";
      out.json += map ? "}" : "]";
      return out;
    }
  }
}

struct generated {
  std::string yaml;
  configuration value;
};

generated some_configuration() {
  generated g;
  auto& c = g.value;
  c.profile.name = *rc::gen::element<std::string>("ultra-conservative", "conservative", "aggressive");
  c.netbox.url = *rc::gen::element<std::string>("https://nb.example", "http://10.0.0.1:8000", "https://[::1]:1/netbox");
  g.yaml = "profile: " + c.profile.name +
           "\nnetbox:\n  url: " + double_quoted(c.netbox.url + *rc::gen::element<std::string>("", "/", "/api/")) +
           "\n  token_env: NB\n";
  auto const tls_of = [&](tls& t, std::string const& indent) {
    switch (*rc::gen::inRange(0, 3)) {
      case 0:
        break;
      case 1:
        t.verify = false;
        g.yaml += indent + "tls_verify: false\n";
        break;
      default: {
        auto const hex = *word("0123456789ABCDEF", 64, 64);
        t.fingerprint = *normal_fingerprint(hex);
        g.yaml += indent + "fingerprint: " + double_quoted(*rc::gen::arbitrary<bool>() ? hex : t.fingerprint) + "\n";
      }
    }
  };
  tls_of(c.netbox.tls, "  ");
  auto const names = *rc::gen::unique<std::vector<std::string>>(name());
  g.yaml += "sources:\n";
  for (std::size_t i = 0; i < std::max<std::size_t>(names.size(), 1); ++i) {
    source s;
    s.name = names.empty() ? "only" : names[i];
    s.type = "proxmox";
    int const n = *rc::gen::inRange(1, 4);
    for (int k = 0; k < n; ++k)
      s.urls.push_back("https://pve" + std::to_string(k) + ":" + std::to_string(*rc::gen::inRange(1, 65536)));
    g.yaml += "  " + double_quoted(s.name) + ":\n    type: proxmox\n    urls:\n";
    for (auto const& url : s.urls) g.yaml += "      - " + url + "\n";
    if (*rc::gen::arbitrary<bool>()) {
      s.token_id = *word("abc.-", 1, 8) + "@pve!" + *word("abc", 1, 8);
      g.yaml += "    token_id: " + double_quoted(s.token_id) + "\n    token_env: PVE\n";
      s.token = weir::base::secret("pve-secret");
    } else {
      s.username = *word("abc.-", 1, 8) + "@pam";
      g.yaml += "    username: " + double_quoted(s.username) + "\n    password_env: PVE\n";
      s.password = weir::base::secret("pve-secret");
    }
    tls_of(s.tls, "    ");
    if (*rc::gen::arbitrary<bool>()) {
      s.max_in_flight = static_cast<std::size_t>(*rc::gen::inRange(1, 65));
      s.request_timeout = std::chrono::milliseconds(*rc::gen::inRange(100, 3'600'001));
      g.yaml += "    max_in_flight: " + std::to_string(s.max_in_flight) +
                "\n    timeout: " + format_duration(static_cast<double>(s.request_timeout.count())) + "\n";
    }
    c.sources.push_back(std::move(s));
  }
  if (*rc::gen::arbitrary<bool>()) {
    c.stages.emplace();
    g.yaml += "stages:\n";
    auto const ids = *rc::gen::unique<std::vector<std::string>>(name());
    for (std::size_t i = 0; i < std::max<std::size_t>(ids.size(), 1); ++i) {
      stage s;
      s.id = ids.empty() ? "nodes" : ids[i];
      auto const value = option_value(3);
      s.options_json = "{\"o\":" + value.json + "}";
      g.yaml += "  " + double_quoted(s.id) + ": {o: " + value.yaml + "}\n";
      c.stages->push_back(std::move(s));
    }
  }
  if (*rc::gen::arbitrary<bool>()) {
    c.max_deletes = static_cast<std::size_t>(*rc::gen::inRange(0, 1000));
    c.max_deletes_percent = static_cast<std::size_t>(*rc::gen::inRange(0, 101));
    g.yaml += "max_deletes: {count: " + std::to_string(c.max_deletes) +
              ", percent: " + std::to_string(c.max_deletes_percent) + "}\n";
  }
  c.state_dir = "/" + *word("abc/. '\"#:", 0, 10) + "x";
  g.yaml += "state_dir: " + double_quoted(c.state_dir.string()) + "\n";
  c.state_dir = c.state_dir.lexically_normal();
  return g;
}

void same(tls const& a, tls const& b) {
  RC_ASSERT(a.verify == b.verify);
  RC_ASSERT(a.ca_file == b.ca_file);
  RC_ASSERT(a.fingerprint == b.fingerprint);
}

TEST(property, what_is_written_is_read) {
  bool const ok = rc::check("written and read again", [] {
    auto const g = some_configuration();
    auto const outcome = load_text(g.yaml, "/etc/weir.yaml", options_for("/etc/weir.yaml"));
    RC_LOG() << g.yaml << everything(outcome);
    RC_ASSERT(outcome.value.has_value());
    auto const &c = *outcome.value, &e = g.value;
    RC_ASSERT(c.profile.name == e.profile.name);
    RC_ASSERT(c.netbox.url == e.netbox.url);
    RC_ASSERT(c.netbox.token.reveal() == "nbt_key.secret");
    same(c.netbox.tls, e.netbox.tls);
    RC_ASSERT(c.sources.size() == e.sources.size());
    for (std::size_t i = 0; i < c.sources.size(); ++i) {
      auto const &s = c.sources[i], &f = e.sources[i];
      RC_ASSERT(s.name == f.name);
      RC_ASSERT(s.urls == f.urls);
      RC_ASSERT(s.token_id == f.token_id);
      RC_ASSERT(s.username == f.username);
      RC_ASSERT(s.token.reveal() == f.token.reveal());
      RC_ASSERT(s.password.reveal() == f.password.reveal());
      RC_ASSERT(s.max_in_flight == f.max_in_flight);
      RC_ASSERT(s.request_timeout == f.request_timeout);
      same(s.tls, f.tls);
    }
    RC_ASSERT(c.stages.has_value() == e.stages.has_value());
    if (c.stages) {
      RC_ASSERT(c.stages->size() == e.stages->size());
      for (std::size_t i = 0; i < c.stages->size(); ++i) {
        RC_ASSERT((*c.stages)[i].id == (*e.stages)[i].id);
        RC_ASSERT((*c.stages)[i].options_json == (*e.stages)[i].options_json);
      }
    }
    RC_ASSERT(c.max_deletes == e.max_deletes);
    RC_ASSERT(c.max_deletes_percent == e.max_deletes_percent);
    RC_ASSERT(c.state_dir == e.state_dir);
  });
  EXPECT_TRUE(ok);
}

TEST(property, no_text_breaks_the_reader) {
  bool const ok = rc::check("any text gives a value or an error", [] {
    auto const text = *word(" \n\n::-[]{},&*!|>'\"%@`~#?abnetbox: url: sources: \t\\é", 0, 200);
    auto options = options_for("x.yaml");
    options.use_files = false;
    auto const outcome = load_text(text, "x.yaml", options);
    RC_ASSERT(outcome.value.has_value() == outcome.errors.empty());
    for (auto const& d : outcome.errors) RC_ASSERT(!render(d).empty());
  });
  EXPECT_TRUE(ok);
}

}  // namespace
