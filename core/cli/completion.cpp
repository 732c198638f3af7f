#include "core/cli/completion.hpp"

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "core/cli/exit_codes.hpp"

namespace weir::cli {
namespace {

// A command by the words that lead to it: "weir", "weir stages show".
struct place {
  std::string path;
  command_info const* command;
};

void collect(command_info const& c, std::string const& above, std::vector<place>& out) {
  auto const path = above.empty() ? c.name : above + " " + c.name;
  out.push_back({path, &c});
  for (auto const& sub : c.commands) collect(sub, path, out);
}

std::vector<place> all_places(command_info const& tree) {
  std::vector<place> out;
  collect(tree, "", out);
  return out;
}

// What stands for a value, by its name in the help.
struct value_kind {
  std::string names;      // what 'weir complete' is asked for; empty: nothing
  bool files = false;     // any file
  bool folders = false;   // any folder
  bool assigned = false;  // a name, then "=" and what nobody can guess
};

value_kind kind_of(option_info const& o) {
  static std::map<std::string, value_kind> const known = {
      {"FILE", {"", true, false, false}},
      {"DIR", {"", false, true, false}},
      {"PROFILE", {"profiles", true, false, false}},
      {"SCENARIO", {"scenarios", true, false, false}},
      {"STAGE", {"stages", false, false, false}},
      {"SOURCE", {"sources", false, false, false}},
      {"RUN", {"runs", false, false, false}},
      {"KEY", {"keys", false, false, false}},
      {"KEY=VALUE", {"keys", false, false, true}},
  };
  auto const found = known.find(o.value);
  return found == known.end() ? value_kind{} : found->second;
}

std::string joined(std::vector<std::string> const& words, char const* between = " ") {
  std::string out;
  for (auto const& w : words) out += (out.empty() ? "" : between) + w;
  return out;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

// In single quotes, for bash and zsh.
std::string quoted(std::string const& text) { return "'" + replaced(text, "'", "'\\''") + "'"; }

// Every option, of whatever command, that takes a value: what follows it is no command.
std::vector<std::string> value_options(std::vector<place> const& places) {
  std::set<std::string> out;
  for (auto const& p : places)
    for (auto const& o : p.command->options)
      if (!o.value.empty()) out.insert(o.names.begin(), o.names.end());
  return {out.begin(), out.end()};
}

std::vector<std::string> names_of(std::vector<command_info> const& commands) {
  std::vector<std::string> out;
  for (auto const& c : commands) out.push_back(c.name);
  return out;
}

// --- bash

std::string bash_value(option_info const& o) {
  if (!o.choices.empty()) return "_weir_words " + quoted(joined(o.choices));
  auto const kind = kind_of(o);
  std::string out;
  if (!kind.names.empty()) out += (kind.assigned ? "_weir_settings " : "_weir_names ") + kind.names;
  if (kind.files) out += (out.empty() ? "" : "; ") + std::string("_weir_files -f");
  if (kind.folders) out += (out.empty() ? "" : "; ") + std::string("_weir_files -d");
  return out.empty() ? ":" : out;
}

constexpr char const* bash_head = R"sh(# bash completion for weir; written by 'weir completion bash'.

_weir_words() {
  local word
  for word in $1; do
    [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
  done
}

# Names that weir knows: its stages, the configuration's sources. It asks no server for them.
_weir_names() {
  local name
  while IFS= read -r name; do
    [[ $name == "$cur"* ]] && COMPREPLY+=("$name")
  done < <("${COMP_WORDS[0]}" complete "$1" ${config:+--config "$config"} 2>/dev/null </dev/null)
}

_weir_settings() {
  _weir_names "$1"
  COMPREPLY=("${COMPREPLY[@]/%/=}")
  compopt -o nospace 2>/dev/null
}

_weir_files() {
  local file
  compopt -o filenames 2>/dev/null
  while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen "$1" -- "$cur")
}

_weir() {
  local cur=${COMP_WORDS[COMP_CWORD]} path=weir pending= config= word options= commands= at=0 i
  COMPREPLY=()
  [[ $cur == = ]] && cur=
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    # bash takes "--output=json" and "host:port" apart.
    if [[ $word == [=:] ]]; then
      [[ $pending ]] || ((++i))
      continue
    fi
    if [[ $pending ]]; then
      [[ $pending == -c || $pending == --config ]] && config=${word/#\~\//$HOME/}
      pending=
      continue
    fi
    case $word in
)sh";

std::string bash(std::vector<place> const& places) {
  std::string out = bash_head;
  out += "      " + joined(value_options(places), " | ") + ") pending=$word ;;\n";
  out += "      -*) ;;\n      *)\n        case \"$path $word\" in\n";
  std::vector<std::string> paths;
  for (auto const& p : places)
    if (p.path != "weir") paths.push_back(quoted(p.path));
  out += "          " + joined(paths, " | ") + ") path+=\" $word\" at=0 ;;\n";
  out += "          *) ((++at)) ;;\n        esac ;;\n    esac\n  done\n\n";

  out += "  if [[ $pending ]]; then\n    case \"$path $pending\" in\n";
  for (auto const& p : places) {
    std::map<std::string, std::vector<std::string>> by_action;
    for (auto const& o : p.command->options)
      if (!o.value.empty())
        for (auto const& n : o.names) by_action[bash_value(o)].push_back(quoted(p.path + " " + n));
    for (auto const& [action, patterns] : by_action)
      if (action != ":") out += "      " + joined(patterns, " | ") + ") " + action + " ;;\n";
  }
  out += "    esac\n    return\n  fi\n\n  case $path in\n";
  for (auto const& p : places) {
    std::vector<std::string> options;
    for (auto const& o : p.command->options) options.insert(options.end(), o.names.begin(), o.names.end());
    out += "    " + quoted(p.path) + ") options=" + quoted(joined(options));
    if (!p.command->commands.empty()) out += " commands=" + quoted(joined(names_of(p.command->commands)));
    out += " ;;\n";
  }
  out += "  esac\n";
  out += "  if [[ $cur == -* ]]; then\n    _weir_words \"$options\"\n    return\n  fi\n";
  out += "  ((at)) || _weir_words \"$commands\"\n  case \"$path $at\" in\n";
  for (auto const& p : places)
    for (std::size_t i = 0; i < p.command->positionals.size(); ++i)
      if (auto const action = bash_value(p.command->positionals[i]); action != ":")
        out += "    " + quoted(p.path + " " + std::to_string(i)) + ") " + action + " ;;\n";
  // Where nothing else can stand: the options.
  out += "    *) [[ $commands || $cur ]] || _weir_words \"$options\" ;;\n";
  out += "  esac\n}\n\ncomplete -F _weir weir\n";
  return out;
}

// --- zsh

std::string zsh_function(std::string const& path) { return "_" + replaced(replaced(path, " ", "_"), "-", "_"); }

std::string zsh_text(std::string text) {
  for (char const* special : {"\\", "[", "]", ":"}) text = replaced(text, special, std::string("\\") + special);
  return text;
}

std::string zsh_value(option_info const& o) {
  std::string const head = ":" + zsh_text(o.value) + ":";
  if (!o.choices.empty()) return head + "(" + joined(o.choices) + ")";
  auto const kind = kind_of(o);
  if (kind.assigned) return head + " _weir_settings " + kind.names;
  if (!kind.names.empty()) return head + (kind.files ? " _weir_names_or_files " : " _weir_names ") + kind.names;
  if (kind.files) return head + "_files";
  if (kind.folders) return head + "_path_files -/";
  return head;
}

std::string zsh_arguments(command_info const& c) {
  std::string out;
  for (auto const& o : c.options)
    for (auto const& name : o.names) {
      bool const is_long = name.starts_with("--");
      std::string const end = o.value.empty() ? "" : is_long ? "=" : "+";
      std::string const once = o.repeated ? "*" : "(" + joined(o.names) + ")";
      out += " \\\n    " +
             quoted(once + name + end + "[" + zsh_text(o.help) + "]" + (o.value.empty() ? "" : zsh_value(o)));
    }
  return out;
}

void zsh_command(place const& p, std::string& out) {
  auto const& c = *p.command;
  out += zsh_function(p.path) + "() {\n";
  if (c.commands.empty()) {
    out += "  _arguments -s -S" + zsh_arguments(c);
    for (auto const& o : c.positionals) out += " \\\n    " + quoted((o.required ? ":" : "::") + zsh_value(o).substr(1));
    out += "\n}\n\n";
    return;
  }
  out += "  local curcontext=$curcontext state state_descr line ret=1\n  typeset -A opt_args\n";
  out += "  _arguments -s -S -C" + zsh_arguments(c) + " \\\n    '1: :->command' '*:: :->argument' && ret=0\n";
  out += "  case $state in\n    command)\n      local -a commands=(\n";
  for (auto const& sub : c.commands) out += "        " + quoted(sub.name + ":" + sub.help) + "\n";
  out += "      )\n      _describe -t commands command commands && ret=0 ;;\n    argument)\n      case $line[1] in\n";
  for (auto const& sub : c.commands)
    out += "        " + sub.name + ") " + zsh_function(p.path + " " + sub.name) + " && ret=0 ;;\n";
  out += "      esac ;;\n  esac\n  return ret\n}\n\n";
}

constexpr char const* zsh_head = R"sh(#compdef weir
# zsh completion for weir; written by 'weir completion zsh'.

# Names that weir knows: its stages, the configuration's sources. It asks no server for them.
_weir_ask() {
  local config=${opt_args[--config]:-$opt_args[-c]}
  names=(${(f)"$(_call_program $1 weir complete $1 ${config:+--config=${(q)~config}} 2>/dev/null </dev/null)"})
}
_weir_names() {
  local -a names
  _weir_ask $1
  compadd -a names
}
_weir_names_or_files() {
  _weir_names $1
  _files
}
_weir_settings() {
  local -a names
  _weir_ask $1
  compadd -S = -a names
}

)sh";

std::string zsh(std::vector<place> const& places) {
  std::string out = zsh_head;
  // The first is 'weir' itself.
  for (auto const& p : places) zsh_command(p, out);
  out += "if [[ $funcstack[1] == _weir ]]; then\n  _weir \"$@\"\nelse\n  compdef _weir weir\nfi\n";
  return out;
}

// --- fish

std::string fish_quoted(std::string const& text) {
  return "'" + replaced(replaced(text, "\\", "\\\\"), "'", "\\'") + "'";
}

// What `complete` is told of a value.
std::string fish_value(option_info const& o) {
  if (!o.choices.empty()) return " -a " + fish_quoted(joined(o.choices));
  auto const kind = kind_of(o);
  std::string out;
  if (kind.files || kind.folders) out += kind.files ? " -F" : " -a '(__fish_complete_directories)'";
  if (!kind.names.empty()) out += " -a '(__weir_names " + kind.names + (kind.assigned ? " =" : "") + ")'";
  return out;
}

constexpr char const* fish_head = R"sh(# fish completion for weir; written by 'weir completion fish'.

# Names that weir knows: its stages, the configuration's sources. It asks no server for them.
function __weir_names
    set -l config
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        switch $words[$i]
            case -c --config
                set config --config $words[(math $i + 1)]
            case '--config=*'
                set config $words[$i]
        end
    end
    for name in (command weir complete $argv[1] $config 2>/dev/null </dev/null)
        echo "$name$argv[2]"
    end
end

# Whether the words so far lead to this command, with so many words of its own where a number is given.
function __weir_at
    set -l path weir
    set -l own 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case )sh";

std::string fish(std::vector<place> const& places) {
  std::string out = fish_head;
  out += joined(value_options(places)) + "\n                set skip 1\n            case '-*'\n            case '*'\n";
  out += "                switch \"$path $word\"\n                    case";
  for (auto const& p : places)
    if (p.path != "weir") out += " " + fish_quoted(p.path);
  out += "\n                        set path \"$path $word\"\n                        set own 0\n";
  out += "                    case '*'\n                        set own (math $own + 1)\n                end\n";
  out += "        end\n    end\n    test \"$path\" = $argv[1]; or return 1\n";
  out += "    test (count $argv) = 1; or test $own = $argv[2]\nend\n\ncomplete -c weir -f\n";
  for (auto const& p : places) {
    for (auto const& sub : p.command->commands)
      out += "complete -c weir -n " + fish_quoted("__weir_at '" + p.path + "' 0") + " -a " + sub.name + " -d " +
             fish_quoted(sub.help) + "\n";
    for (std::size_t i = 0; i < p.command->positionals.size(); ++i)
      if (auto const value = fish_value(p.command->positionals[i]); !value.empty())
        out += "complete -c weir -n " + fish_quoted("__weir_at '" + p.path + "' " + std::to_string(i)) + value + "\n";
    for (auto const& o : p.command->options) {
      out += "complete -c weir -n " + fish_quoted("__weir_at '" + p.path + "'");
      for (auto const& n : o.names) out += n.starts_with("--") ? " -l " + n.substr(2) : " -s " + n.substr(1);
      if (!o.value.empty()) out += (kind_of(o).files ? " -r" : " -x") + fish_value(o);
      out += " -d " + fish_quoted(o.help) + "\n";
    }
  }
  return out;
}

}  // namespace

int completion(arguments const& args) {
  auto const tree = command_tree();
  auto const places = all_places(tree);
  std::cout << (args.shell == "bash" ? bash(places) : args.shell == "zsh" ? zsh(places) : fish(places));
  return std::cout.flush() ? exit_code::done : exit_code::failed;
}

}  // namespace weir::cli
