#include "core/config/reader.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <tuple>

#include "core/base/text.hpp"
#include "core/config/check.hpp"
#include "core/config/config.hpp"
#include "core/config/cron.hpp"
#include "core/config/layers.hpp"
#include "core/config/profiles.hpp"
#include "core/config/secrets.hpp"
#include "core/config/show.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

namespace fs = std::filesystem;
using show = checker::show;

class reader {
 public:
  reader(yaml::document const& doc, load_options const& options, load_outcome& out)
      : options_(options), out_(out), check_(doc, schema::document::configuration, out.errors) {}

  checker const& check() const { return check_; }

  configuration read(fs::path file) {
    auto const root = check_.root();
    configuration c;
    c.file = std::move(file);
    read_profile(root["profile"], c.profile);
    if (auto const netbox = root["netbox"]; netbox.present()) read_netbox(netbox, c.netbox);
    for (auto const& source : root["sources"].children()) c.sources.push_back(read_source(source));
    if (root["stages"].present()) c.stages = read_stages(root["stages"], root["sources"]);
    read_plugin_path(root["plugin_path"], c.plugin_path, c.plugin_path_location);
    read_state_dir(root["state_dir"], c.state_dir);
    read_max_deletes(root["max_deletes"], c.max_deletes, c.max_deletes_percent);
    c.adopt = root["adopt"].text();
    for (auto const& kind : root["rules"].children())
      if (auto r = read_rules(kind); valid_kind(r.kind)) c.rules.push_back(std::move(r));
    read_logging(root["log"], c.logging);
    if (auto const textfile = path_of(root["metrics"]["textfile"])) c.metrics.textfile = *textfile;
    check_place(root["metrics"]["textfile"], c.metrics.textfile);
    if (root["metrics"]["pushgateway"].present())
      c.metrics.pushgateway = *normal_url(root["metrics"]["pushgateway"].text(), true);
    if (auto const serve = root["serve"]; serve.present()) read_serve(serve, root["sources"], c.serve);
    c.observe_only = root["throttle"]["mode"].present() && root["throttle"]["mode"].text() == "observe";
    return c;
  }

 private:
  void warn(view const& at, std::string summary, std::string detail = {}) {
    auto d = check_.about(at, std::move(summary), std::move(detail));
    d.severity = severity::warning;
    out_.warnings.push_back(std::move(d));
  }

  void read_profile(view const& v, profile& p) {
    auto const reference = options_.profile.value_or(v.text());
    if (!options_.use_files) {
      p.name = reference;
      apply_environment(p, options_, out_);
      return;
    }
    // The key is there but wrong: that is reported, and the default is not what was meant.
    if (!options_.profile && v.node() != nullptr && !v.present()) return;
    auto const complain = [&](std::string summary, std::string detail) {
      if (!options_.profile && v.present()) return check_.complain(v, std::move(summary), std::move(detail));
      diagnostic d;
      d.file = options_.profile ? "--profile" : options_.file.string();
      d.summary = std::move(summary);
      d.detail = std::move(detail);
      out_.errors.push_back(std::move(d));
    };
    // A path on the command line starts where the user stands, one in the file where the file is.
    auto const start = options_.profile || !v.present() ? fs::current_path() : folder_of(v);
    if (auto found = find_profile(reference, start, options_, out_.errors, complain)) {
      p = std::move(*found);
      apply_environment(p, options_, out_);
    }
  }

  fs::path folder_of(view const& v) const { return config::folder_of(check_.document(), v.node()->at); }

  std::optional<fs::path> path_of(view const& v) {
    if (!v.present()) return {};
    auto found = resolve_path(v.text(), folder_of(v), options_.environment);
    if (found) return *found;
    check_.complain(v, v.path() + " " + found.error().what, found.error().hint);
    return {};
  }

  // A file that weir is to write: a folder that is missing today may be there tomorrow.
  void check_place(view const& v, fs::path const& file) {
    if (!v.present() || file.empty() || !options_.use_files) return;
    std::error_code ignored;
    if (fs::is_directory(file, ignored))
      check_.complain(v, v.path() + ": " + file.string() + " is a folder", "name a file in it");
    else if (!fs::is_directory(file.parent_path(), ignored))
      warn(v, v.path() + ": the folder " + file.parent_path().string() + " does not exist", "make it before weir runs");
  }

  // The one key of several forms that gives the secret; none is an error only if `needed`. `wanted`: whether the
  // secret itself is, or only that it is given rightly.
  base::secret read_secret(view const& owner, std::string_view secret, std::string_view needed, bool wanted = true) {
    std::vector<view> given;
    std::vector<std::string> names;
    bool refused = false;  // one form is there but wrong, or the secret stands in the file: reported already
    for (auto const& row : schema::keys()) {
      if (row.secret != secret || row.in != check_.which() ||
          row.path.substr(0, row.path.rfind('.')) != owner.key()->path)
        continue;
      auto const name = row.path.substr(row.path.rfind('.') + 1);
      auto const v = owner[name];
      if (!row.form.empty()) names.emplace_back(name);
      if (v.node() == nullptr) continue;
      if (v.present())
        given.push_back(v);
      else
        refused = true;
    }
    if (given.size() > 1)
      return check_.complain(given[1], given[1].path() + " and " + given[0].path() + " are both given",
                             "exactly one of " + base::join(names), show::up_to_value),
             base::secret();
    if (given.empty()) {
      if (!needed.empty() && !refused)
        check_.complain_at_key(owner, owner.path() + " " + std::string(needed), "one of " + base::join(names));
      return {};
    }
    return refused ? base::secret() : fetch(given[0], wanted);
  }

  // A secret that stands in a file: then the file must be as private as a secret's own.
  base::secret inline_secret(view const& v) {
    auto const at = v.node()->at;
    auto const file = check_.document().files.at(at.file).name;
    std::error_code failed;
    if (options_.use_files && check_.from_file(at)) {
      auto const mode = fs::status(file, failed).permissions();
      if (!failed && (mode & fs::perms(077)) != fs::perms::none) {
        char text[8];
        std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode) & 07777u);
        check_.complain(v, v.path() + " stands in a file that others than its owner can read (mode " + text + ")",
                        "chmod 600 " + file, show::up_to_value);
        return {};
      }
    }
    auto const text = v.text();
    if (std::any_of(text.begin(), text.end(),
                    [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; })) {
      check_.complain(v, v.path() + " holds several lines or control characters",
                      "it must hold the secret and nothing else", show::up_to_value);
      return {};
    }
    return base::secret(text);
  }

  base::secret fetch(view const& v, bool wanted) {
    auto const form = v.key()->form;
    auto const text = v.text();
    if (form.empty()) return inline_secret(v);
    if (form == "env" && (!valid_variable(text) || looks_like_token(text))) {
      check_.complain(v, v.path() + " must be the name of an environment variable",
                      looks_like_token(text) ? "this looks like the secret itself" : "letters, digits and '_'",
                      show::up_to_value);
      return {};
    }
    if (form == "credential" && (!valid_name(text) || looks_like_token(text))) {
      check_.complain(v, v.path() + " must be the name of a systemd credential", "letters, digits, '_', '.' and '-'",
                      show::up_to_value);
      return {};
    }
    auto const file = form == "file" ? path_of(v) : std::nullopt;
    if (!wanted || !options_.need_secrets || !options_.use_files || (form == "file" && !file)) return {};
    auto found = form == "env"       ? secret_from_environment(text, options_.environment)
                 : form == "file"    ? secret_from_file(*file)
                 : form == "command" ? secret_from_command(text, options_.environment)
                                     : secret_from_credential(text, options_.environment);
    if (found) return std::move(*found);
    check_.complain(v, v.path() + ": " + found.error().what, found.error().hint,
                    form == "command" ? show::up_to_value : show::all);
    return {};
  }

  void read_tls(view const& owner, tls& t) {
    auto const ca = owner["ca_file"], fingerprint = owner["fingerprint"], verify = owner["tls_verify"];
    t.verify = verify.boolean();
    if (auto const file = path_of(ca)) {
      t.ca_file = file->string();
      std::error_code ignored;
      if (options_.use_files && !fs::is_regular_file(*file, ignored))
        check_.complain(ca, ca.path() + ": " + file->string() +
                                (fs::exists(*file, ignored) ? " is not a file" : " does not exist"));
      else if (options_.use_files && ::access(file->c_str(), R_OK) != 0)
        check_.complain(ca, ca.path() + ": " + file->string() + " cannot be read");
    }
    if (fingerprint.present()) {
      t.fingerprint = normal_fingerprint(fingerprint.text()).value_or("");
      if (verify.present() && !t.verify)
        check_.complain(fingerprint, fingerprint.path() + " and tls_verify: false contradict each other",
                        "the fingerprint already replaces the check of the chain; remove tls_verify");
      else if (ca.present())
        warn(ca, ca.path() + " is not used: the fingerprint replaces the check of the chain");
    } else if (ca.present() && !t.verify) {
      warn(ca, ca.path() + " is not used with tls_verify: false");
    }
  }

  void read_netbox(view const& v, netbox& n) {
    if (v["url"].present()) n.url = *normal_url(v["url"].text());
    n.token = read_secret(v, "token", "needs a token");
    read_tls(v, n.tls);
  }

  source read_source(view const& v) {
    source s;
    s.name = v.node()->key;
    s.type = v["type"].text();
    bool const rest = s.type == "rest";
    for (auto const& url : v["urls"].children())
      if (auto normal = normal_url(url.text(), rest)) s.urls.push_back(std::move(*normal));
    if (v["type"].present()) refuse_other_types(v, s.type);
    if (rest)
      read_rest(v, s);
    else
      read_login(v, s);
    read_selection(v["scope"]["include"], s.scope.include);
    read_selection(v["scope"]["exclude"], s.scope.exclude);
    read_tls(v, s.tls);
    s.max_in_flight = static_cast<std::size_t>(v["max_in_flight"].integer());
    s.request_timeout = v["timeout"].duration();
    s.connect_timeout = v["connect_timeout"].duration();
    return s;
  }

  // Keys that only sources of another type have.
  void refuse_other_types(view const& v, std::string_view type) {
    for (auto const& child : v.node()->children) {
      auto const given = v[child.key];
      if (given.key() == nullptr || given.key()->only.empty() || given.key()->only == type) continue;
      check_.complain_at_key(given,
                             given.path() + " is for sources of the type " + std::string(given.key()->only) +
                                 ", this one is " + std::string(type),
                             given.key()->path.ends_with(".token_id")
                                 ? "a rest source takes token_env or another form, and token_header"
                                 : "remove it");
    }
  }

  // Whether any form of that secret is given, the wrong ones, too.
  bool any_form(view const& v, std::string_view secret) const {
    for (auto const& row : schema::keys())
      if (row.secret == secret && row.path.starts_with("sources.*.") && v[row.path.substr(10)].node() != nullptr)
        return true;
    return false;
  }

  void read_rest(view const& v, source& s) {
    auto const user = v["username"], header = v["token_header"], probe = v["check"];
    bool const token = any_form(v, "token"), password = any_form(v, "password");
    if (token && (password || user.node() != nullptr)) {
      check_.complain_at_key(v, v.path() + " has two logins", "either a token, or username and a password");
    } else if (token) {
      s.token = read_secret(v, "token", "needs a token");
    } else if (password || user.node() != nullptr) {
      if (user.node() == nullptr) check_.complain_at_key(v, v.path() + ".username is missing", "such as weir");
      s.password = read_secret(v, "password", "needs a password");
    }
    if (user.present()) {
      s.username = user.text();
      if (s.username.find(':') != std::string::npos)  // RFC 7617
        check_.complain(user, user.path() + " must not hold ':'",
                        "the password goes where password_env or another form says", show::up_to_value);
    }
    if (header.node() != nullptr && !token)
      check_.complain_at_key(header, header.path() + " has no token to carry", "add token_env or another form");
    read_token_header(header, s);
    for (auto const& each : v["headers"].children()) read_header(each, s);
    s.check = probe.text();
    if (!s.check.starts_with('/'))
      check_.complain(probe, probe.path() + " must begin with '/', is '" + base::shorten(s.check, 60) + "'",
                      "a path below the source's urls, such as /health");
    if (auto const paging = v["paging"]; paging.present()) read_paging(paging, s.paging);
  }

  // "Name" or "Name: Prefix".
  void read_token_header(view const& v, source& s) {
    auto const text = v.text();
    auto const colon = text.find(':');
    s.token_header = text.substr(0, colon);
    auto const behind = colon == std::string::npos ? std::string::npos : text.find_first_not_of(' ', colon + 1);
    s.token_prefix = behind == std::string::npos ? std::string() : text.substr(behind);
    while (s.token_prefix.ends_with(' ')) s.token_prefix.pop_back();
    if (!v.present()) {
      s.token_prefix += ' ';
      return;
    }
    auto const secret = std::any_of(s.token_prefix.begin(), s.token_prefix.end(), [](char c) { return c == ' '; })
                            ? looks_like_token(s.token_prefix.substr(s.token_prefix.rfind(' ') + 1))
                            : looks_like_token(s.token_prefix);
    if (secret || looks_like_token(text))
      check_.complain(v, v.path() + " must not hold the token itself", "'Authorization: Bearer' or 'X-Api-Key'",
                      show::up_to_value);
    else if (!valid_header(s.token_header) || reserved(s.token_header))
      check_.complain(v, v.path() + " must be a header's name, or 'Name: Prefix', is '" + base::shorten(text, 60) + "'",
                      "'Authorization: Bearer', 'Authorization: Token' or 'X-Api-Key'");
    // "Token token=" is followed by the token itself.
    if (!s.token_prefix.empty() && !s.token_prefix.ends_with('=')) s.token_prefix += ' ';
  }

  // Headers that the transport makes itself.
  static bool reserved(std::string_view name) {
    auto const lower = base::lower(name);
    for (auto const* mine : {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te",
                             "upgrade", "expect", "range", "if-none-match", "if-modified-since"})
      if (lower == mine) return true;
    return false;
  }

  void read_header(view const& v, source& s) {
    auto const& name = v.node()->key;
    auto const lower = base::lower(name);
    if (!valid_header(name) || reserved(name))
      return check_.complain_at_key(v, v.path() + " cannot be set", "the connection's own headers are weir's business");
    for (auto const* word : {"auth", "cookie", "token", "key", "secret", "passw"})
      if (lower.find(word) != std::string::npos)
        return check_.complain(v, v.path() + " may not stand in the file: it looks like a secret",
                               "use token_env or another form, with token_header: " + base::shorten(name, 60),
                               show::up_to_value);
    auto const value = v.text();
    if (looks_like_token(value))
      return check_.complain(v, v.path() + " looks like a secret", "use token_env or another form, with token_header",
                             show::up_to_value);
    if (std::any_of(value.begin(), value.end(),
                    [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }))
      return check_.complain(v, v.path() + " must not hold line breaks or control characters");
    s.headers.emplace_back(name, value);
  }

  void read_paging(view const& v, paging& p) {
    using styles = paging::styles;
    static constexpr std::pair<std::string_view, styles> names[] = {
        {"none", styles::none}, {"link", styles::link},     {"next", styles::next},
        {"page", styles::page}, {"offset", styles::offset}, {"cursor", styles::cursor}};
    auto const style = v["style"];
    if (!style.present()) return;  // reported already
    for (auto const& [name, value] : names)
      if (style.text() == name) p.style = value;
    bool const asks = p.style == styles::page || p.style == styles::offset || p.style == styles::cursor;
    bool const told = p.style == styles::next || p.style == styles::cursor;
    auto const only = [&](std::string_view key, bool belongs, std::string_view where) {
      auto const given = v[key];
      if (given.node() == nullptr || belongs) return;
      check_.complain_at_key(given, given.path() + " has no meaning with style: " + style.text(),
                             "it belongs to style: " + std::string(where));
    };
    bool const some = p.style != styles::none;
    static constexpr std::string_view any = "link, next, page, offset or cursor";
    for (auto const* key : {"items", "total", "size_parameter", "size", "max_pages"}) only(key, some, any);
    only("next", told, "next or cursor");
    only("parameter", asks, "page, offset or cursor");
    only("first", p.style == styles::page, "page");
    if (some && v["size"].node() != nullptr && v["size_parameter"].node() == nullptr)
      check_.complain_at_key(v["size"], v["size"].path() + " has no parameter to go in",
                             "add size_parameter, such as per_page or limit");

    auto const items = v["items"], next = v["next"], parameter = v["parameter"];
    p.items = items.text();
    p.next = next.text();
    p.parameter = parameter.text();
    p.total = v["total"].text();
    p.size_parameter = v["size_parameter"].text();
    p.size = static_cast<std::size_t>(v["size"].integer());
    p.first = static_cast<std::size_t>(v["first"].integer());
    p.max_pages = static_cast<std::size_t>(v["max_pages"].integer());
    if (p.style == styles::next && next.node() == nullptr) p.next = "next";
    if (p.style == styles::next && items.node() == nullptr) p.items = "results";
    if (asks && parameter.node() == nullptr) p.parameter = style.text();
    if (p.style == styles::cursor && next.node() == nullptr)
      check_.complain_at_key(v, v.path() + ".next is missing",
                             "where the next cursor stands, such as meta.next_cursor");
    if (told && p.items.empty() && (items.present() || items.node() == nullptr))
      check_.complain_at_key(items.node() != nullptr ? items : v,
                             v.path() + ".items must say where the list stands with style: " + style.text(),
                             "such as results: an answer that is nothing but the list cannot say what comes next");
    if (!p.total.empty() && p.items.empty())
      check_.complain_at_key(v["total"], v["total"].path() + " needs items",
                             "an answer that is nothing but the list cannot say how many there are");
    for (auto const& one : {parameter, v["size_parameter"]})
      if (one.present() && base::url_encode(one.text()) != one.text())
        check_.complain(one,
                        one.path() + " must be a query parameter's name, is '" + base::shorten(one.text(), 60) + "'",
                        "letters, digits, '-', '_', '.' and '~'");
    if (!p.size_parameter.empty() && p.size_parameter == p.parameter)
      check_.complain(v["size_parameter"],
                      v["size_parameter"].path() + " and the page's parameter are both '" + p.parameter + "'");
  }

  // token_id and token, or username and password.
  void read_login(view const& v, source& s) {
    auto const id = v["token_id"], user = v["username"];
    bool const token = any_form(v, "token"), password = any_form(v, "password");
    bool const by_token = id.node() != nullptr || token, by_password = user.node() != nullptr || password;
    if (by_token && by_password)
      return check_.complain_at_key(v, v.path() + " has two logins",
                                    "either token_id and a token, or username and a password");
    if (!by_token && !by_password)
      return check_.complain_at_key(v, v.path() + " has no login",
                                    "token_id and token_env, or username and password_env");
    auto const& name = by_token ? id : user;
    if (name.node() == nullptr)
      check_.complain_at_key(v, v.path() + (by_token ? ".token_id is missing" : ".username is missing"),
                             by_token ? "such as sync@pve!weir" : "such as sync@pve");
    if (id.present()) {
      s.token_id = id.text();
      bool const whole = s.token_id.find('=') != std::string::npos;
      if (!valid_token_id(s.token_id))
        check_.complain(id,
                        id.path() + " must look like user@realm!name" +
                            (whole ? "" : ", is '" + base::shorten(s.token_id, 60) + "'"),
                        whole ? "what stands behind '=' is the secret: it goes where token_env or another form says"
                              : "such as sync@pve!weir",
                        whole ? show::up_to_value : show::all);
    }
    if (user.present()) {
      s.username = user.text();
      if (!valid_username(s.username))
        check_.complain(user, user.path() + " must look like user@realm, is '" + base::shorten(s.username, 60) + "'",
                        "such as root@pam or sync@pve");
    }
    if (by_token)
      s.token = read_secret(v, "token", "needs a token");
    else
      s.password = read_secret(v, "password", "needs a password");
  }

  std::vector<stage> read_stages(view const& v, view const& sources) {
    std::vector<stage> out;
    for (auto const& options : v.children()) {
      auto const& n = *options.node();
      stage s;
      s.id = n.key;
      s.location = check_.location(n.at);
      s.key_location = check_.location(n.key_at);
      std::optional<json_problem> problem;
      if (n.is == yaml::node::form::map) {
        // Without what is weir's own.
        auto own = n;
        std::erase_if(own.children, [&](yaml::node const& child) { return options[child.key].key() != nullptr; });
        s.options_json = to_json(own, problem);
        locate(own, "", s);
        s.sources = source_names(options["sources"], sources);
        auto const isolation = options["isolation"].text();
        s.isolation = isolation == "process" ? stage_isolation::process
                      : isolation == "none"  ? stage_isolation::none
                                             : stage_isolation::automatic;
        auto const limits = options["limits"];
        s.limits.memory_mib = static_cast<std::size_t>(limits["memory_mib"].integer());
        s.limits.cpu = limits["cpu"].duration();
        s.limits.wall = limits["wall"].duration();
      }
      if (problem) check_.complain_at(problem->at, options.path() + " holds " + problem->summary);
      out.push_back(std::move(s));
    }
    return out;
  }

  void locate(yaml::node const& n, std::string const& pointer, stage& out) const {
    for (std::size_t i = 0; i < n.children.size(); ++i) {
      auto const& child = n.children[i];
      std::string step;
      // RFC 6901 writes '~' and '/' in a name as ~0 and ~1.
      for (char c : n.is == yaml::node::form::map ? child.key : std::to_string(i))
        step += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
      auto const below = pointer + "/" + step;
      out.option_locations.emplace(below, check_.location(child.at));
      if (n.is == yaml::node::form::map) out.option_key_locations.emplace(below, check_.location(child.key_at));
      locate(child, below, out);
    }
  }

  void read_plugin_path(view const& v, std::vector<fs::path>& path, std::string& location) {
    if (v.node() == nullptr) path = options_.default_plugin_path;
    if (v.present()) location = check_.location(v.node()->at);
    for (auto const& folder : v.children())
      if (auto resolved = path_of(folder)) path.push_back(std::move(*resolved));
  }

  void read_state_dir(view const& v, fs::path& dir) {
    if (v.node() != nullptr) {
      if (auto resolved = path_of(v)) dir = std::move(*resolved);
      return;
    }
    if (auto found = default_state_dir(options_.environment, ::geteuid() == 0)) {
      dir = std::move(*found);
      return;
    }
    if (!options_.use_files) return;
    diagnostic d;
    d.file = options_.file.string();
    d.summary = "state_dir is missing, and neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME says where";
    d.detail = "add state_dir: /var/lib/weir or another folder";
    out_.errors.push_back(std::move(d));
  }

  // One number is the whole limit; of {count, percent} the part left out is 0, so that nobody gets more than is
  // written.
  void read_max_deletes(view const& v, std::size_t& most, std::size_t& most_percent) {
    auto const count = v["count"], percent = v["percent"];
    bool const map = v.present() && v.node()->is == yaml::node::form::map;
    if (v.present() && !map) {
      most = static_cast<std::size_t>(v.integer());
      most_percent = 0;
      return;
    }
    most = map && count.node() == nullptr ? 0 : static_cast<std::size_t>(count.integer());
    most_percent = map && percent.node() == nullptr ? 0 : static_cast<std::size_t>(percent.integer());
  }

  // What a kind is like is known when the plugins are: engine::policies looks further.
  rules read_rules(view const& v) {
    rules r;
    r.kind = v.node()->key;
    r.location = check_.location(v.node()->key_at);
    if (!valid_kind(r.kind))
      check_.complain_at_key(v, "rules: '" + base::shorten(r.kind, 60) + "' is not the name of a kind",
                             "a content type of NetBox's as app.model, such as virtualization.virtualmachine");
    for (auto const& field : v["fields"].children()) {
      r.fields[field.node()->key] = field.text();
      r.field_locations[field.node()->key] = check_.location(field.node()->key_at);
    }
    if (v["adopt"].present()) r.adopt = v["adopt"].text();
    if (v["orphans"].present()) r.orphans = v["orphans"].text();
    if (v["grace"].present()) r.grace = v["grace"].duration();
    if (v["max_deletes"].present())
      read_max_deletes(v["max_deletes"], r.max_deletes.emplace(), r.max_deletes_percent.emplace());
    return r;
  }

  void read_selection(view const& v, selection& s) {
    for (auto const& [name, list] :
         {std::pair("nodes", &s.nodes), std::pair("pools", &s.pools), std::pair("tags", &s.tags),
          std::pair("vmids", &s.vmids), std::pair("names", &s.names), std::pair("storages", &s.storages),
          std::pair("states", &s.states)})
      for (auto const& word : v[name].children()) list->push_back(word.text());
    for (auto const& word : v["vmids"].children())
      if (!valid_vmids(word.text()))
        check_.complain(word,
                        word.path() + " must be a guest's number or a range of them, is '" +
                            base::shorten(word.text(), 60) + "'",
                        "such as 100, or 200-299");
    for (auto const& word : v["states"].children()) {
      static std::vector<std::string> const known = {"running", "stopped", "paused", "suspended"};
      if (std::find(known.begin(), known.end(), word.text()) != known.end()) continue;
      auto const near = base::nearest(word.text(), known);
      check_.complain(word, word.path() + " must be one of " + base::join(known) + ", is '" +
                                base::shorten(word.text(), 60) + "'",
                      near ? "did you mean '" + *near + "'?" : "");
    }
    if (v["templates"].present()) s.templates = v["templates"].boolean();
  }

  void read_logging(view const& v, logging& l) {
    if (v["level"].present()) l.level = v["level"].text();
    if (v["format"].present()) l.format = v["format"].text();
    if (auto const file = path_of(v["file"])) l.file = *file;
    check_place(v["file"], l.file);
    l.max_mib = static_cast<std::size_t>(v["max_mib"].integer());
    l.keep = static_cast<std::size_t>(v["keep"].integer());
  }

  void read_serve(view const& v, view const& sources, serve& s) {
    auto const listen = v["listen"];
    s.listen = listen.text();
    s.token = read_secret(v, "token", "", options_.serving);
    if (auto const address = parse_listen(s.listen); !address) {
      if (listen.present())
        check_.complain(listen,
                        listen.path() + " " + address.error().what + ", is '" + base::shorten(s.listen, 60) + "'",
                        address.error().hint);
    } else if (bool const token = any_token(v); !address->loopback && !token && listen.present()) {
      check_.complain(
          listen, listen.path() + " is " + s.listen + ", which others than this machine can reach: it needs a token",
          "add serve.token_file or another form, or listen on 127.0.0.1");
    }
    s.unready_after = v["unready_after"].duration();
    for (auto const& each : v["schedules"].children()) s.schedules.push_back(read_schedule(each, sources));
  }

  static bool any_token(view const& v) {
    for (auto const* form : {"token", "token_env", "token_file", "token_command", "token_credential"})
      if (v[form].node() != nullptr) return true;
    return false;
  }

  schedule read_schedule(view const& v, view const& sources) {
    schedule one;
    one.name = v.node()->key;
    auto const cron = v["cron"], every = v["every"];
    one.cron = cron.text();
    one.every = every.duration();
    if (cron.node() != nullptr && every.node() != nullptr)
      check_.complain_at_key(every, cron.path() + " and every are both given", "exactly one of cron and every");
    if (cron.node() == nullptr && every.node() == nullptr)
      check_.complain_at_key(v, v.path() + " does not say when", "cron: '15 * * * *', or every: 15m");
    if (cron.present())
      if (auto const parsed = cron::parse(one.cron); !parsed)
        check_.complain(cron, cron.path() + ": " + parsed.error().what, parsed.error().hint);
    one.jitter = v["jitter"].duration();
    if (every.present() && one.jitter >= one.every)
      check_.complain(v["jitter"], v["jitter"].path() + " must be less than every: the next start would come first",
                      "a tenth of it is enough");
    one.plan_only = v["command"].text() == "plan";
    one.sources = source_names(v["sources"], sources);
    for (auto const& name : v["stages"].children()) {
      one.stages.push_back(name.text());
      one.stage_locations.push_back(check_.location(name.node()->at));
    }
    if (v["max_duration"].present()) one.max_duration = v["max_duration"].duration();
    return one;
  }

  // Names of sources, each of which must be there.
  std::vector<std::string> source_names(view const& v, view const& sources) {
    std::vector<std::string> out;
    for (auto const& name : v.children()) {
      if (sources.node() != nullptr && sources.node()->find(name.text()) == nullptr) {
        std::vector<std::string> known;
        for (auto const& source : sources.children()) known.push_back(source.node()->key);
        auto const near = base::nearest(name.text(), known);
        check_.complain(name, name.path() + ": there is no source '" + base::shorten(name.text(), 60) + "'",
                        near            ? "did you mean '" + *near + "'?"
                        : known.empty() ? ""
                                        : "known: " + base::join(known));
      }
      out.push_back(name.text());
    }
    return out;
  }

  load_options const& options_;
  load_outcome& out_;
  checker check_;
};

load_outcome load_layers(load_options const& options, std::optional<std::string_view> text) {
  load_outcome out;
  auto read = read_layers(options, text);
  out.errors = std::move(read.errors);
  out.warnings = std::move(read.warnings);
  out.files = std::move(read.files);
  auto const& doc = read.doc;
  std::optional<configuration> value;
  if (doc.usable) {
    reader all(doc, options, out);
    value = all.read(options.file);
    if (out.errors.empty() && options.list_settings) out.settings = list_settings(all.check(), *value, options);
  }
  // In the order of the files and their lines, whatever the order in which they were found.
  auto const place = [&](diagnostic const& d) {
    auto const at = std::find_if(doc.files.begin(), doc.files.end(), [&](auto const& f) { return f.name == d.file; });
    return std::tuple(at - doc.files.begin(), d.line, d.column);
  };
  std::stable_sort(out.errors.begin(), out.errors.end(),
                   [&](diagnostic const& a, diagnostic const& b) { return place(a) < place(b); });
  (out.errors.empty() ? out.value : out.rest) = std::move(value);
  return out;
}

}  // namespace

load_outcome load_text(std::string_view text, std::string const& name, load_options const& options) {
  auto named = options;
  named.file = name;
  return load_layers(named, text);
}

load_outcome load(load_options const& options) { return load_layers(options, std::nullopt); }

diagnostic complain_at_location(std::string const& location, std::string summary, std::string detail) {
  diagnostic d;
  d.summary = std::move(summary);
  d.detail = std::move(detail);
  auto const column = location.rfind(':');
  auto const line = column == std::string::npos || column == 0 ? column : location.rfind(':', column - 1);
  yaml::mark at;
  if (line != std::string::npos) {
    at.line = static_cast<std::size_t>(std::strtoull(location.c_str() + line + 1, nullptr, 10));
    at.column = static_cast<std::size_t>(std::strtoull(location.c_str() + column + 1, nullptr, 10));
  }
  if (at.line == 0 || at.column == 0) {
    d.file = location;
    return d;
  }
  yaml::document doc;
  doc.file = location.substr(0, line);
  doc.files.push_back({doc.file});
  if (auto const text = read_text(doc.file)) doc.files[0].lines = yaml::split_lines(*text);
  return doc.complain(at, std::move(d.summary), std::move(d.detail));
}

}  // namespace weir::config
