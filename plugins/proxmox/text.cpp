#include "proxmox/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <limits>
#include <utility>

namespace weir::proxmox {
namespace {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

std::string_view trim(std::string_view t) noexcept {
  while (!t.empty() && is_blank(t.front())) t.remove_prefix(1);
  while (!t.empty() && is_blank(t.back())) t.remove_suffix(1);
  return t;
}

// Takes a run of digits off the front; nothing if there is none or it does not fit.
template <class Number>
std::optional<Number> take_number(std::string_view& t) noexcept {
  Number n{};
  if (t.empty() || !is_digit(t.front())) return std::nullopt;
  auto const [end, fault] = std::from_chars(t.data(), t.data() + t.size(), n);
  if (fault != std::errc{}) return std::nullopt;
  t.remove_prefix(static_cast<std::size_t>(end - t.data()));
  return n;
}

// "2026-04-29T01:00:00" or "2026_04_29-01_00_00" by the separators given; the rest stays in t.
std::optional<std::int64_t> take_instant(std::string_view& t, char in_date, char between, char in_time) noexcept {
  std::array<unsigned, 6> v{};
  std::array<char, 5> const separators{in_date, in_date, between, in_time, in_time};
  std::string_view rest = t;
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (i > 0) {
      if (rest.empty() || rest.front() != separators[i - 1]) return std::nullopt;
      rest.remove_prefix(1);
    }
    auto const n = take_number<unsigned>(rest);
    if (!n || *n > 9999) return std::nullopt;
    v[i] = *n;
  }
  using namespace std::chrono;
  auto const date = year_month_day{year{static_cast<int>(v[0])}, month{v[1]}, day{v[2]}};
  if (v[0] < 1970 || !date.ok() || v[3] > 23 || v[4] > 59 || v[5] > 60) return std::nullopt;
  t = rest;
  auto const seconds = static_cast<std::int64_t>(sys_days{date}.time_since_epoch().count()) * 86400;
  return seconds + v[3] * 3600 + v[4] * 60 + v[5];
}

bool starts_with_then_digits(std::string_view key, std::string_view word) noexcept {
  if (!key.starts_with(word) || key.size() == word.size()) return false;
  key.remove_prefix(word.size());
  return std::all_of(key.begin(), key.end(), is_digit);
}

std::uint32_t hash(std::string_view text) noexcept {  // FNV-1a: the same on every machine and in every release
  std::uint32_t h = 2166136261U;
  for (char const c : text) h = (h ^ static_cast<unsigned char>(c)) * 16777619U;
  return h;
}

std::string hex(std::uint32_t n, int digits) {
  std::array<char, 12> out{};
  std::snprintf(out.data(), out.size(), "%0*x", digits, n);
  return out.data();
}

}  // namespace

std::string_view to_text(guest g) noexcept {
  switch (g) {
    case guest::qemu:
      return "qemu";
    case guest::lxc:
      return "lxc";
    case guest::unknown:
      break;
  }
  return "undefined";
}

guest to_guest(std::string_view text) noexcept {
  if (text == "qemu" || text == "vm") return guest::qemu;
  if (text == "lxc" || text == "ct" || text == "openvz") return guest::lxc;
  return guest::unknown;
}

std::optional<backup_volume> parse_backup_volume(std::string_view volid) noexcept {
  auto const colon = volid.find(':');
  if (colon == volid.npos || colon == 0 || colon + 1 == volid.size()) return std::nullopt;
  backup_volume v;
  v.storage = volid.substr(0, colon);
  std::string_view name = volid.substr(colon + 1);
  if (name.starts_with("backup/")) name.remove_prefix(7);

  if (auto const slash = name.find('/'); slash != name.npos) {  // Proxmox Backup Server: type/id/time
    std::string_view const type = name.substr(0, slash);
    if (type == "vm" || type == "ct") {
      v.type = to_guest(type);
      v.format = type == "vm" ? "pbs-vm" : "pbs-ct";
      name.remove_prefix(slash + 1);
      v.vmid = take_number<std::uint32_t>(name);
      if (v.vmid && name.starts_with('/')) {
        name.remove_prefix(1);
        v.instant = take_instant(name, '-', 'T', ':');
        v.instant_is_utc = v.instant && name == "Z";
        if (!v.instant_is_utc) v.instant.reset();
      } else {
        v.vmid.reset();
      }
    }
    return v;
  }

  if (!name.starts_with("vzdump-")) return v;
  name.remove_prefix(7);
  auto const dash = name.find('-');
  if (dash == name.npos) return v;
  v.type = to_guest(name.substr(0, dash));
  if (v.type == guest::unknown) return v;
  name.remove_prefix(dash + 1);
  v.vmid = take_number<std::uint32_t>(name);
  if (!v.vmid || !name.starts_with('-')) {
    v.vmid.reset();
    return v;
  }
  name.remove_prefix(1);
  v.instant = take_instant(name, '_', '-', '_');
  // The format is the last one or two extensions: what precedes may hold dots where somebody renamed the file.
  static constexpr std::array<std::string_view, 10> endings{"vma.zst", "vma.gz",  "vma.lzo", "vma.bz2", "tar.zst",
                                                            "tar.gz",  "tar.lzo", "tar.bz2", "tgz",     "tbz"};
  for (auto const ending : endings) {
    if (name.size() > ending.size() && name.ends_with(ending) && name[name.size() - ending.size() - 1] == '.') {
      v.format = ending;
      return v;
    }
  }
  if (auto const dot = name.rfind('.'); dot != name.npos && dot + 1 < name.size()) v.format = name.substr(dot + 1);
  return v;
}

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
  text = trim(text);
  auto const whole = take_number<std::uint64_t>(text);
  if (!whole) return std::nullopt;
  // Proxmox VE writes up to a few decimals; thousandths of a unit are more than it uses.
  std::uint64_t thousandths = 0;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    std::uint64_t weight = 100;
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    while (!text.empty() && is_digit(text.front())) {
      thousandths += static_cast<std::uint64_t>(text.front() - '0') * weight;
      weight /= 10;
      text.remove_prefix(1);
    }
  }
  unsigned shift = 0;
  if (!text.empty()) {
    switch (text.front()) {
      case 'B':
      case 'b':
        shift = 0;
        break;
      case 'K':
      case 'k':
        shift = 10;
        break;
      case 'M':
      case 'm':
        shift = 20;
        break;
      case 'G':
      case 'g':
        shift = 30;
        break;
      case 'T':
      case 't':
        shift = 40;
        break;
      case 'P':
      case 'p':
        shift = 50;
        break;
      default:
        return std::nullopt;
    }
    text.remove_prefix(1);
  }
  if (!text.empty()) return std::nullopt;
  std::uint64_t const unit = std::uint64_t{1} << shift;
  if (*whole > std::numeric_limits<std::uint64_t>::max() / unit - 1) return std::nullopt;
  // unit * 999 / 1000 cannot overflow: the largest unit is 2^50.
  return *whole * unit + thousandths * unit / 1000;
}

std::optional<std::string_view> property(std::string_view text, std::string_view name) noexcept {
  while (!text.empty()) {
    auto const comma = text.find(',');
    std::string_view const part = text.substr(0, comma);
    if (part.size() > name.size() && part.starts_with(name) && part[name.size()] == '=') {
      return part.substr(name.size() + 1);
    }
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
  }
  return std::nullopt;
}

bool is_disk_key(std::string_view key) noexcept {
  if (key == "rootfs") return true;
  static constexpr std::array<std::string_view, 7> words{"scsi", "virtio", "sata", "ide", "efidisk", "tpmstate", "mp"};
  return std::any_of(words.begin(), words.end(), [&](auto word) { return starts_with_then_digits(key, word); });
}

std::optional<std::uint64_t> disk_bytes(std::string_view key, std::string_view value) noexcept {
  if (!is_disk_key(key)) return std::nullopt;
  if (property(value, "media") == std::string_view{"cdrom"}) return std::nullopt;
  std::string_view const volume = value.substr(0, value.find(','));
  if (volume == "none" || volume == "cdrom") return std::nullopt;
  // "local-lvm:vm-100-cloudinit" or ".../vm-100-cloudinit.qcow2", which older versions keep without media=cdrom.
  std::string_view name = volume.substr(volume.find_last_of(":/") + 1);
  name = name.substr(0, name.find('.'));
  if (name.starts_with("vm-") && name.ends_with("-cloudinit")) return std::nullopt;
  auto const size = property(value, "size");
  return size ? parse_size(*size) : std::nullopt;
}

std::vector<std::string_view> split_list(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    auto const end = text.find_first_of(";, \t\r\n");
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == text.npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

std::string slug(std::string_view text) {
  std::string out;
  for (char const c : text) {
    if (is_digit(c) || (c >= 'a' && c <= 'z') || c == '_') {
      out.push_back(c);
    } else if (c >= 'A' && c <= 'Z') {
      out.push_back(static_cast<char>(c - 'A' + 'a'));
    } else if (!out.empty() && out.back() != '-') {
      out.push_back('-');
    }
  }
  if (out.size() > 100) out.resize(100);
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "x" + hex(hash(text), 8) : out;
}

std::string colour_of(std::string_view text) { return hex(hash(text) & 0xffffffU, 6); }

std::size_t characters(std::string_view text) noexcept {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string_view cut(std::string_view text, std::size_t most) noexcept {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0U) == 0x80U) continue;
    if (seen++ == most) return text.substr(0, i);
  }
  return text;
}

std::string first_line(std::string_view text, std::size_t most) {
  while (!text.empty()) {
    auto const end = text.find_first_of("\r\n");
    std::string line;
    for (char const c : trim(text.substr(0, end))) {
      auto const byte = static_cast<unsigned char>(c);
      if (byte == '\t')
        line.push_back(' ');
      else if (byte >= 0x20 && byte != 0x7f)
        line.push_back(c);
    }
    if (std::string_view const kept = trim(line); !kept.empty()) return std::string{trim(cut(kept, most))};
    if (end == text.npos) break;
    text.remove_prefix(end + 1);
  }
  return {};
}

std::optional<std::string> to_utc(std::int64_t seconds) {
  constexpr std::int64_t end_of_9999 = 253402300799;
  if (seconds < 0 || seconds > end_of_9999) return std::nullopt;
  using namespace std::chrono;
  auto const date = year_month_day{sys_days{days{seconds / 86400}}};
  auto const in_day = static_cast<int>(seconds % 86400);
  std::array<char, 64> out{};
  std::snprintf(out.data(), out.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), in_day / 3600, in_day / 60 % 60,
                in_day % 60);
  return std::string{out.data()};
}

std::string url_segment(std::string_view text) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (char const c : text) {
    if (is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.' ||
        c == '~') {
      out.push_back(c);
    } else {
      auto const byte = static_cast<unsigned char>(c);
      out.append({'%', digits[byte >> 4U], digits[byte & 15U]});
    }
  }
  return out;
}

format_choice to_format(std::string_view f) noexcept {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 20> table{{
      {"pbs-vm", "pbs-vm"},     {"pbs-ct", "pbs-ct"},     {"vma.zst", "zst"},       {"zst", "zst"},
      {"tar.zst", "tzst"},      {"tzst", "tzst"},         {"tar.gz", "tgz"},        {"tgz", "tgz"},
      {"tar.bz2", "tbz"},       {"tbz", "tbz"},           {"tar", "tar"},           {"qcow2", "qcow2"},
      {"raw", "raw"},           {"iso", "iso"},           {"vma", "undefined"},     {"vma.gz", "undefined"},
      {"vma.lzo", "undefined"}, {"vma.bz2", "undefined"}, {"tar.lzo", "undefined"}, {"", "undefined"},
  }};
  for (auto const& [theirs, choice] : table) {
    if (theirs == f) return {choice, !f.empty()};
  }
  return {};
}

}  // namespace weir::proxmox
