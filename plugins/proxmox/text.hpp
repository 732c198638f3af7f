// What Proxmox VE writes into single strings: volume ids, disk sizes, property strings, tags. No JSON, no I/O.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::proxmox {

enum class guest { unknown, qemu, lxc };

// "qemu", "lxc", "undefined": netbox-proxbox's choices for a backup's subtype.
std::string_view to_text(guest g) noexcept;

// "qemu", "vm" ► qemu; "lxc", "ct", "openvz" ► lxc.
guest to_guest(std::string_view text) noexcept;

// A backup's volume id; views into the text it was parsed from.
struct backup_volume {
  std::string_view storage;
  guest type = guest::unknown;
  std::optional<std::uint32_t> vmid;
  // Seconds since 1970 as the name says. Of Proxmox Backup Server it is UTC, of vzdump the node's local time.
  std::optional<std::int64_t> instant;
  bool instant_is_utc = false;
  std::string_view format;  // "pbs-vm", "pbs-ct", "vma.zst", "tar.gz", ...; empty where the name does not tell
};

// "pbs:backup/vm/100/2026-04-29T01:00:00Z", "nfs:backup/vzdump-lxc-101-2026_04_29-01_00_00.tar.zst". Anything with a
// storage and a volume name is a volume; what the name does not tell stays empty. Nothing if there is no storage.
std::optional<backup_volume> parse_backup_volume(std::string_view volid) noexcept;

// Bytes of "32G", "528K", "4M", "1.5T", "1024". Nothing if it is no size or does not fit.
std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;

// The value of `name` in a property string "local-lvm:vm-100-disk-0,size=32G,cache=none"; nothing if absent.
std::optional<std::string_view> property(std::string_view text, std::string_view name) noexcept;

// scsi0, virtio15, ide2, sata1, efidisk0, tpmstate0, rootfs, mp0: keys of a configuration that may hold a disk.
bool is_disk_key(std::string_view key) noexcept;

// Bytes of the disk a configuration entry describes. Nothing for what is no disk (CD-ROM, cloud-init, none) and for a
// disk without a size (passthrough, bind mount).
std::optional<std::uint64_t> disk_bytes(std::string_view key, std::string_view value) noexcept;

// Split at ';', ',' and spaces; empty parts are left out. Views into `text`.
std::vector<std::string_view> split_list(std::string_view text);

// NetBox's slug: lower case, [a-z0-9_-], at most 100 characters. Never empty: what has no usable character gets a name
// made of its hash.
std::string slug(std::string_view text);

// Six hexadecimal digits that depend on the text alone, for tags that have no colour of their own.
std::string colour_of(std::string_view text);

// The first line that is not blank, trimmed, without control characters, at most `most` characters (not bytes).
std::string first_line(std::string_view text, std::size_t most);

// Characters (code points) of UTF-8 text; at most `most` of them, never cutting one.
std::size_t characters(std::string_view text) noexcept;
std::string_view cut(std::string_view text, std::size_t most) noexcept;

// "2026-04-29T01:00:00Z". Nothing outside the years 1970 to 9999.
std::optional<std::string> to_utc(std::int64_t seconds_since_1970);

// One segment of a path, percent-encoded.
std::string url_segment(std::string_view text);

// netbox-proxbox's choice for Proxmox VE's format of a backup.
struct format_choice {
  std::string_view value = "undefined";
  bool known = false;  // false: a format this table does not have
};
// vma.zst ► zst, tar.zst ► tzst, tar.gz ► tgz, tar.bz2 ► tbz, pbs-vm, pbs-ct, tar, qcow2, raw, iso as they are. vma,
// vma.gz, vma.lzo and tar.lzo are known and have no choice there: undefined.
format_choice to_format(std::string_view proxmox_format) noexcept;

}  // namespace weir::proxmox
