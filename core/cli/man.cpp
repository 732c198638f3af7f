// weir's manual page: what stands in the command tree, and the little that it does not say. roff, in the man(7) macros.
#include <algorithm>
#include <iostream>
#include <map>
#include <sstream>

#include "core/base/text.hpp"
#include "core/cli/completion.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/version.hpp"
#include "core/config/describe.hpp"

namespace weir::cli {
namespace {

constexpr char const* written = "2026-11-22";  // goes with the version

std::string roff(std::string_view text) {
  std::string out;
  for (char const c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\n')
      out += ' ';
    else if (out.empty() && (c == '.' || c == '\''))
      out += std::string("\\&") + c;
    else if (c == '"')
      out += "\\(dq";
    else if (c == '\'')
      out += "\\(aq";
    else
      out += c;
  }
  return out;
}

std::string bold(std::string_view text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + roff(text) + "\\fR"; }

std::string sentence(std::string text) {
  if (!text.empty() && text.back() != '.') text += '.';
  return text;
}

std::string value_of(option_info const& o) {
  if (o.choices.empty()) return italic(o.value);
  std::string out;
  for (auto const& c : o.choices) out += (out.empty() ? "" : "|") + bold(c);
  return out;
}

// What the help does not say already.
std::string limits_of(option_info const& o) {
  std::string out;
  if (!o.range.empty()) out += " From " + o.range + ".";
  if (!o.initial.empty()) out += " Default: " + o.initial + ".";
  if (!o.environment.empty()) out += " Environment: " + o.environment + ".";
  return out;
}

void print_option(option_info const& o, std::string& out) {
  std::string names;
  for (auto const& n : o.names) names += (names.empty() ? "" : ", ") + (o.positional ? italic(n) : bold(n));
  if (!o.positional && !o.value.empty()) names += " " + value_of(o);
  out += ".TP\n" + names + "\n" + roff(sentence(o.help) + limits_of(o)) + "\n";
}

bool is_help(option_info const& o) { return o.names.back() == "--help"; }

std::string arguments_of(command_info const& c) {
  std::string out;
  if (std::any_of(c.options.begin(), c.options.end(), [](auto const& o) { return !is_help(o); })) out += " [options]";
  for (auto const& o : c.positionals) {
    auto const name = o.choices.empty() ? italic(o.names.front()) : value_of(o);
    out += o.required ? " " + name : " [" + name + "]";
  }
  return out;
}

// Options that several commands share are told of once, below the first that has them all.
using shared = std::map<std::string, std::string>;  // an option as printed -> the command

void print_command(command_info const& c, std::string const& above, shared& told, std::string& out) {
  auto const path = above + " " + c.name;
  if (c.commands.empty() || c.optional_command) {
    out += ".SS " + roff(path) + "\n" + bold(path) + arguments_of(c) + "\n.P\n" + roff(sentence(c.help)) + "\n";
    for (auto const& o : c.positionals) print_option(o, out);
    std::map<std::string, std::vector<std::string>> elsewhere;
    for (auto const& o : c.options) {
      if (is_help(o)) continue;
      std::string text;
      print_option(o, text);
      if (auto const [at, is_new] = told.try_emplace(text, path); is_new)
        out += text;
      else
        elsewhere[at->second].push_back(o.names.back());
    }
    for (auto const& [where, names] : elsewhere) {
      std::string list;
      for (auto const& n : names) list += (list.empty() ? "" : ", ") + bold(n);
      out += ".P\nAs of " + bold(where) + ": " + list + ".\n";
    }
  }
  for (auto const& sub : c.commands) print_command(sub, path, told, out);
}

void print_synopsis(command_info const& c, std::string const& above, std::string& out) {
  auto const path = above.empty() ? c.name : above + " " + c.name;
  if (c.commands.empty() || c.optional_command) out += ".br\n" + bold(path) + arguments_of(c) + "\n";
  for (auto const& sub : c.commands) print_synopsis(sub, path, out);
}

void collect_environment(command_info const& c, std::map<std::string, std::string>& out) {
  for (auto const& o : c.options)
    if (!o.environment.empty()) out.try_emplace(o.environment, "Stands for " + o.names.back() + ".");
  for (auto const& sub : c.commands) collect_environment(sub, out);
}

void print_entry(std::string const& name, std::string const& text, std::string& out) {
  out += ".TP\n" + bold(name) + "\n" + roff(text) + "\n";
}

void print_example(char const* what, std::vector<char const*> const& lines, std::string& out, bool first = false) {
  if (!first) out += ".P\n";
  out += roff(what) + "\n.P\n.RS 4\n.nf\n";
  for (auto const* line : lines) out += roff(line) + "\n";
  out += ".fi\n.RE\n";
}

// Lines of at most 79 bytes, but for tags and what is printed as it stands.
std::string wrapped(std::string const& page) {
  constexpr std::size_t width = 79;
  std::string out, line;
  bool as_it_stands = false, tag = false;
  for (std::stringstream lines(page); std::getline(lines, line);) {
    if (line == ".nf") as_it_stands = true;
    if (line == ".fi") as_it_stands = false;
    while (line.size() > width && line[0] != '.' && !as_it_stands && !tag) {
      auto const at = line.rfind(' ', width);
      if (at == std::string::npos || at == 0) break;
      out += line.substr(0, at) + "\n";
      line.erase(0, at + 1);
      if (line[0] == '.' || line[0] == '\'') line.insert(0, "\\&");
    }
    tag = line == ".TP";
    out += line + "\n";
  }
  return out;
}

std::string heading(std::string const& title, int section, std::string const& of) {
  return ".\\\" Written by 'weir man'.\n.TH " + title + " " + std::to_string(section) + " " + written + " \"weir " +
         version + "\" \"" + of + "\"\n.nh\n.ad l\n";
}

std::string page() {
  auto const tree = command_tree();
  auto out = heading("WEIR", 1, "User Commands");
  out += ".SH NAME\nweir \\- " + roff("copies what Proxmox VE knows into NetBox, as fast as that NetBox can take it") +
         "\n";

  out += ".SH SYNOPSIS\n";
  std::string synopsis;
  print_synopsis(tree, "", synopsis);
  out += synopsis.substr(synopsis.find('\n') + 1);  // without the first .br

  out +=
      ".SH DESCRIPTION\n" +
      roff(
          "weir reads nodes, guests, backups and whatever else its plugins (stages) know from Proxmox VE and other "
          "sources, compares them with what NetBox holds, and sends the difference in lists. All requests to NetBox "
          "pass one gate: it stays below the ceilings of a profile, and goes slower than that where NetBox's answers "
          "say so.") +
      "\n.P\n" +
      roff(
          "Every list is journalled before it is sent: what an outage or an interruption leaves undone is finished by "
          "weir resume, or by the next weir sync. A run that finds nothing new writes nothing. Only what weir itself "
          "made is deleted, and only where its source said that it is gone.") +
      "\n.P\n" +
      roff(
          "The result goes to standard output, everything else to standard error. On SIGINT and SIGTERM weir ends in "
          "good order: what is under way is awaited, the rest is left to the next run. On SIGUSR1 it prints how far "
          "it is.") +
      "\n";

  out += ".SH COMMANDS\n" + roff("Every command takes --help. A command's options follow it.") + "\n";
  shared told;
  for (auto const& o : tree.options) print_option(o, out);
  for (auto const& c : tree.commands) print_command(c, "weir", told, out);

  out += ".SH CONFIGURATION\n" +
         roff(
             "A YAML file. weir config explain lists its keys, weir config explain KEY says what one means, "
             "weir config show --origin prints the settings as they hold and where each comes from. What is said more "
             "closely wins: the command line, then the environment, then the file.") +
         "\n.P\nThe least that it takes:\n.P\n.RS 4\n.nf\n";
  for (auto const* line : {"netbox:", "  url: https://netbox.example", "  token_file: /etc/weir/netbox.token",
                           "sources:", "  pve-a:", "    type: proxmox", "    urls: [https://pve1.example:8006]",
                           "    token_id: sync@pve!weir", "    token_file: /etc/weir/pve-a.token"})
    out += roff(line) + "\n";
  out += ".fi\n.RE\n";

  out += ".SH ENVIRONMENT\n";
  std::map<std::string, std::string> environment = {
      {"WEIR_STAGE_PATH", "Folders with plugins, separated by colons, before all others."},
      {"PROXBOX_BACKUP_BATCH_SIZE", "Instead of the profile's batch.size."},
      {"PROXBOX_BACKUP_BATCH_DELAY_MS", "Instead of the profile's batch.delay_ms."},
      {"PROXBOX_NETBOX_MAX_CONCURRENT", "Instead of the profile's max_in_flight."},
      {"STATE_DIRECTORY", "Where the state is kept, unless the configuration says; systemd sets it."},
      {"CREDENTIALS_DIRECTORY", "Where the secrets named by token_credential are; systemd sets it."},
      {"XDG_CONFIG_HOME, XDG_STATE_HOME",
       "Where one's own configuration and state are; else ~/.config and ~/.local/state."},
      {"NO_COLOR", "Not empty: no colour, as with --color never."},
  };
  collect_environment(tree, environment);
  for (auto const& [name, text] : environment) print_entry(name, text, out);

  out += ".SH FILES\n";
  print_entry("~/.config/weir/config.yaml", "One's own configuration.", out);
  print_entry("/etc/weir/config.yaml", "The system's; what one's own says lies over it.", out);
  print_entry("/etc/weir/profiles, /usr/share/weir/profiles", "Profiles.", out);
  print_entry("/usr/local/lib/weir/stages", "Plugins of one's own.", out);
  print_entry("/var/lib/weir/journal.db", "The journal of a weir that systemd runs (see STATE_DIRECTORY).", out);
  print_entry("/usr/share/doc/weir", "Examples, and the documentation: install.md for the service and the timer.", out);

  out += ".SH EXIT STATUS\n";
  for (auto const& m : exit_code::meanings) print_entry(std::to_string(m.code), m.says, out);
  out += ".P\n" + roff("Unknown codes must be treated as failure.") + "\n";

  out += ".SH EXAMPLES\n";
  print_example("To see it at work, without a NetBox or a Proxmox VE:", {"weir demo"}, out, true);
  print_example("To look first, then sync:", {"weir validate", "weir plan", "weir sync"}, out);
  print_example("One stage of one cluster, for half an hour at most:",
                {"weir sync --source pve-a --stage backups --max-duration 30m"}, out);
  print_example("What the last runs did, and the rest of one that was stopped:", {"weir history", "weir resume"}, out);

  out += ".SH SEE ALSO\n" + bold("weir.yaml") + "(5), " + bold("systemd.exec") + "(5), " + bold("systemd.timer") +
         "(5), " + bold("jq") + "(1)\n";
  return out;
}

void print_keys(std::string_view where, std::string& out) {
  for (auto const& k : config::explain_all({})) {
    if (k.where != where) continue;
    auto text = sentence(k.help) + " " + sentence("It is " + k.type + (k.limits.empty() ? "" : " " + k.limits));
    if (!k.allowed.empty()) text += " One of " + base::join(k.allowed) + ".";
    if (!k.fallback.empty()) text += " Default: " + k.fallback + ".";
    if (!k.variables.empty()) text += " Environment: " + base::join(k.variables, " or ") + ".";
    print_entry(k.key + (k.required && k.fallback.empty() ? " (required)" : ""), text, out);
  }
}

// weir.yaml(5): the table of keys.
std::string page_of_configuration() {
  auto out = heading("WEIR.YAML", 5, "File Formats");
  out += ".SH NAME\nweir.yaml \\- configuration and profiles of weir\n";
  out += ".SH DESCRIPTION\n" +
         roff(
             "YAML 1.2. weir reads the file of --config, over one's own ~/.config/weir/config.yaml, over "
             "/etc/weir/config.yaml; the environment and the command line's --set win over all of them. A misspelt key "
             "is an "
             "error. Relative paths start at the folder of the file that names them. A * in a key stands for a name of "
             "one's own.") +
         "\n.P\n" + bold("weir config show --origin") + " " + roff("says which value holds and where it comes from,") +
         " " + bold("weir config explain") + " " + italic("KEY") + " " +
         roff("what a key means, those of the stages found, too.") + "\n";
  out += ".SH CONFIGURATION\n";
  print_keys("configuration", out);
  out += ".SH PROFILES\n" + roff("A file of its own, named by the key profile.") + "\n";
  print_keys("profile", out);
  out += ".SH SEE ALSO\n" + bold("weir") + "(1)\n";
  return out;
}

}  // namespace

int man(arguments const& args) {
  std::cout << wrapped(args.page == "weir.yaml" ? page_of_configuration() : page());
  return std::cout.flush() ? exit_code::done : exit_code::failed;
}

}  // namespace weir::cli
