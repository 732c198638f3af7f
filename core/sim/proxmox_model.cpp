// The generator. Only integer arithmetic on a fixed generator, so that every platform makes the same cluster.
#include "core/sim/proxmox.hpp"

#include <fmt/format.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

namespace weir::sim {

using nlohmann::json;

namespace {

class random_source {
 public:
  explicit random_source(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {  // splitmix64
    state_ += 0x9E3779B97F4A7C15ULL;
    auto z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  template <class T, std::size_t N>
  T const& pick(std::array<T, N> const& items) {
    return items[below(N)];
  }
  std::string hex(int digits) {
    std::string out;
    for (int i = 0; i < digits; ++i) out += "0123456789abcdef"[below(16)];
    return out;
  }

 private:
  std::uint64_t state_;
};

constexpr std::int64_t newest_backup = 1793491200;  // 2026-11-01T00:00:00Z
constexpr std::int64_t day = 86400;
constexpr std::int64_t gib = 1024LL * 1024 * 1024;

std::string time_text(std::int64_t unix_seconds, char const* form) {
  using namespace std::chrono;
  sys_seconds const t{seconds(unix_seconds)};
  auto const date = floor<days>(t);
  year_month_day const ymd(date);
  hh_mm_ss const hms(t - date);
  return fmt::format(fmt::runtime(form), static_cast<int>(ymd.year()), static_cast<unsigned>(ymd.month()),
                     static_cast<unsigned>(ymd.day()), hms.hours().count(), hms.minutes().count(),
                     hms.seconds().count());
}

std::string mac(random_source& random) {
  auto const h = random.hex(6);
  std::string out = "BC:24:11";
  for (std::size_t i = 0; i < 6; i += 2) {
    out += ':';
    for (std::size_t k = i; k < i + 2; ++k) out += static_cast<char>(h[k] >= 'a' ? h[k] - 32 : h[k]);
  }
  return out;
}

std::string uuid(random_source& random) {
  return random.hex(8) + "-" + random.hex(4) + "-4" + random.hex(3) + "-a" + random.hex(3) + "-" + random.hex(12);
}

std::string description(random_source& random, std::string const& name) {
  switch (random.below(4)) {
    case 0:
      return "";
    case 1:
      return name + " runs here";
    case 2:
      return "Über " + name + "\n\nZuständig: Bereich „Süd“ → Ablösung geplant\nZeile 3\n";
    default:
      return "# " + name + "\n\n| key | value |\n|---|---|\n| owner | ops |\n";
  }
}

std::array<std::string, 10> const roles{"web", "db", "mail", "git", "cache", "proxy", "app", "build", "dns", "store"};
std::array<std::string, 8> const tag_sets{"prod;web",         "prod", "Dev;test", "backup-daily;prod;tier-1",
                                          "tag_with.dot;x+y", "test", "db;prod",  "legacy"};
std::array<std::string, 7> const disk_sizes{"32G", "8G", "100G", "1T", "2252M", "528K", "64G"};

json qemu_config(random_source& random, int vmid, std::string const& name, std::string const& disk_store) {
  json c = {{"boot", "order=scsi0;ide2;net0"},
            {"cpu", "x86-64-v2-AES"},
            {"ide2", "none,media=cdrom"},
            {"meta", "creation-qemu=9.0.2,ctime=1735689600"},
            {"net0", fmt::format("virtio={},bridge=vmbr0,firewall=1", mac(random))},
            {"numa", 0},
            {"ostype", random.one_in(5) ? "win11" : "l26"},
            {"scsihw", "virtio-scsi-single"},
            {"smbios1", "uuid=" + uuid(random)},
            {"vmgenid", uuid(random)}};
  if (!random.one_in(12)) c["name"] = name;  // absent: Proxmox shows "VM 100"
  std::array<int, 6> const memory{512, 1024, 2048, 4096, 8192, 16384};
  if (!random.one_in(10)) {  // absent: 512
    auto const mib = random.pick(memory);
    if (random.one_in(4))
      c["memory"] = mib;
    else
      c["memory"] = std::to_string(mib);  // as in PVE 8 and later
  }
  if (!random.one_in(8)) c["cores"] = 1 + random.below(8);
  if (!random.one_in(3)) c["sockets"] = 1 + random.below(2);
  if (random.one_in(9)) c["vcpus"] = 1;
  if (!random.one_in(20)) {
    auto const disk = [&](int index, std::string const& size) {
      return fmt::format("{}:vm-{}-disk-{},iothread=1,size={}", disk_store, vmid, index, size);
    };
    c["scsi0"] = disk(0, random.pick(disk_sizes));
    if (random.one_in(3)) c["scsi1"] = disk(1, random.pick(disk_sizes));
    if (random.one_in(6)) c["virtio0"] = disk(2, random.pick(disk_sizes));
    if (random.one_in(7)) c["efidisk0"] = fmt::format("{}:vm-{}-disk-3,efitype=4m,size=4M", disk_store, vmid);
    if (random.one_in(9)) c["tpmstate0"] = fmt::format("{}:vm-{}-disk-4,size=4M,version=v2.0", disk_store, vmid);
    if (random.one_in(6)) c["unused0"] = fmt::format("{}:vm-{}-disk-9", disk_store, vmid);
    if (random.one_in(11)) c["scsi5"] = fmt::format("/dev/disk/by-id/ata-SIMULATED_{},backup=0", random.hex(8));
  }
  if (random.one_in(4)) {
    c["ide0"] = fmt::format("{}:vm-{}-cloudinit,media=cdrom,size=4M", disk_store, vmid);
    c["ipconfig0"] = "ip=dhcp";
  }
  if (random.one_in(5)) c["ide2"] = "local:iso/debian-12.5.0-amd64-netinst.iso,media=cdrom,size=629M";
  if (random.one_in(13)) c["hostpci0"] = "0000:01:00.0,pcie=1";
  if (!random.one_in(3)) c["agent"] = "1";
  if (random.one_in(2)) c["onboot"] = 1;
  return c;
}

json lxc_config(random_source& random, int vmid, std::string const& name, std::string const& disk_store) {
  json c = {{"arch", "amd64"},
            {"net0", fmt::format("name=eth0,bridge=vmbr0,firewall=1,hwaddr={},ip=dhcp,type=veth", mac(random))},
            {"ostype", random.one_in(2) ? "debian" : "ubuntu"},
            {"rootfs", fmt::format("{}:vm-{}-disk-0,size={}G", disk_store, vmid, 4 + 4 * random.below(4))},
            {"swap", 512},
            {"unprivileged", 1}};
  if (!random.one_in(15)) c["hostname"] = name;  // absent: Proxmox shows "CT100"
  std::array<int, 4> const memory{256, 512, 1024, 2048};
  if (!random.one_in(8)) c["memory"] = random.pick(memory);
  if (!random.one_in(4)) c["cores"] = 1 + random.below(4);  // absent: all of the node's
  if (random.one_in(4)) c["mp0"] = fmt::format("{}:vm-{}-disk-1,mp=/srv,backup=1,size=100G", disk_store, vmid);
  if (random.one_in(9)) c["mp1"] = "/srv/shared,mp=/shared";  // a bind mount has no size
  if (random.one_in(2)) c["onboot"] = 1;
  return c;
}

struct backup_form {
  char const* extension;
  char const* format;
};
std::array<backup_form, 4> const qemu_forms{
    {{"vma.zst", "vma.zst"}, {"vma.gz", "vma.gz"}, {"vma.lzo", "vma.lzo"}, {"vma", "vma"}}};
std::array<backup_form, 4> const lxc_forms{
    {{"tar.zst", "tar.zst"}, {"tar.gz", "tar.gz"}, {"tar.lzo", "tar.lzo"}, {"tar", "tar"}}};

json make_backup(random_source& random, int vmid, bool qemu, std::string const& node, std::string const& name,
                 std::int64_t time, bool old) {
  json b = {{"content", "backup"},
            {"ctime", time},
            {"vmid", vmid},
            {"size", 200'000'000 + static_cast<std::int64_t>(random.below(40)) * gib +
                         static_cast<std::int64_t>(random.below(1000))}};
  auto const where = random.below(10);
  if (where < 4) {
    b["storage"] = "pbs";
    b["node"] = nullptr;
    b["volid"] = fmt::format("pbs:backup/{}/{}/{}", qemu ? "vm" : "ct", vmid,
                             time_text(time, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z"));
    b["format"] = qemu ? "pbs-vm" : "pbs-ct";
    if (!random.one_in(3))
      b["verification"] = {{"state", random.one_in(20) ? "failed" : "ok"},
                           {"upid", fmt::format("UPID:pbs:{:08X}:{:08X}:00000001:{:08X}:verify:main:root@pam:", 4711,
                                                random.below(1U << 30U), time)}};
    if (random.one_in(6)) {
      auto const h = random.hex(16);
      std::string fingerprint;
      for (std::size_t i = 0; i < h.size(); i += 2) fingerprint += (i == 0 ? "" : ":") + h.substr(i, 2);
      b["encrypted"] = fingerprint;
    }
  } else {
    bool const shared = where < 8;
    b["storage"] = shared ? "nfs" : "local";
    b["node"] = shared ? json(nullptr) : json(node);
    // Most backups are zstd; the other forms are rare but must be there.
    auto const& form = qemu ? qemu_forms[random.one_in(3) ? 1 + random.below(3) : 0]
                            : lxc_forms[random.one_in(3) ? 1 + random.below(3) : 0];
    b["volid"] = fmt::format("{}:backup/vzdump-{}-{}-{}.{}", shared ? "nfs" : "local", qemu ? "qemu" : "lxc", vmid,
                             time_text(time, "{:04}_{:02}_{:02}-{:02}_{:02}_{:02}"), form.extension);
    b["format"] = form.format;
  }
  if (!old) b["subtype"] = qemu ? "qemu" : "lxc";
  if (random.one_in(3)) b["notes"] = random.one_in(4) ? "vor dem Upgrade – prüfen" : name;
  if (random.one_in(12)) b["protected"] = 1;
  return b;
}

}  // namespace

std::string generate_proxmox_model(proxmox_options const& o) {
  random_source random(o.seed * 1'000'003 + 17);
  json nodes = json::array();
  for (int i = 1; i <= o.nodes; ++i) {
    std::string fingerprint;
    for (int k = 0; k < 32; ++k) fingerprint += fmt::format("{}{:02X}", k == 0 ? "" : ":", random.below(256));
    nodes.push_back({{"node", fmt::format("{}-n{}", o.cluster, i)},
                     {"nodeid", i},
                     {"ip", fmt::format("192.0.2.{}", 10 + i)},
                     {"online", true},
                     {"maxcpu", 16},
                     {"cpu", 0.0125},
                     {"maxmem", 128 * gib},
                     {"mem", 40 * gib},
                     {"maxdisk", 900 * gib},
                     {"disk", 12 * gib},
                     {"uptime", 864'000 + i},
                     {"ssl_fingerprint", fingerprint}});
  }

  json guests = json::array();
  std::vector<std::string> names;
  for (int i = 0; i < o.guests; ++i) {
    int const vmid = 100 + i;
    bool const qemu = random.below(3) != 0;
    auto name = fmt::format("{}-{:02}", random.pick(roles), i + 1);
    if (random.one_in(10)) name = fmt::format("{}.{}.example", name, random.pick(roles));
    if (i > 0 && i <= o.duplicate_names) name = names.back();
    names.push_back(name);
    std::string const store = random.one_in(3) ? "ceph" : "local-lvm";
    json config = qemu ? qemu_config(random, vmid, name, store) : lxc_config(random, vmid, name, store);
    if (i <= o.duplicate_names && o.duplicate_names > 0) config[qemu ? "name" : "hostname"] = name;
    if (auto text = description(random, name); !text.empty()) config["description"] = text;
    if (random.one_in(25))
      config["tags"] = " ";
    else if (!random.one_in(3))
      config["tags"] = random.pick(tag_sets);
    config["digest"] = random.hex(40);
    bool const is_template = qemu && random.one_in(15);
    if (is_template) config["template"] = 1;
    std::string status = random.one_in(4) ? "stopped" : "running";
    if (qemu && status == "running" && random.one_in(20)) status = "paused";
    if (is_template) status = "stopped";
    json g = {{"vmid", vmid},
              {"type", qemu ? "qemu" : "lxc"},
              {"node", nodes[random.below(nodes.size())]["node"]},
              {"status", status},
              {"config", config}};
    if (status != "stopped") g["uptime"] = 1000 + random.below(1'000'000);
    if (random.one_in(8)) g["pool"] = "prod";
    guests.push_back(std::move(g));
  }

  json backups = json::array();
  for (int i = 0; i < o.backups && o.guests > 0; ++i) {
    auto const& g = guests[static_cast<std::size_t>(i % o.guests)];
    int const round = i / o.guests;
    int const vmid = g["vmid"].get<int>();
    // One backup per guest and night, newest first; the oldest rounds lack `subtype`.
    auto const time = newest_backup - round * day + (vmid % 240) * 60 + static_cast<std::int64_t>(random.below(60));
    backups.push_back(make_backup(random, vmid, g["type"] == "qemu", g["node"].get<std::string>(),
                                  names[static_cast<std::size_t>(i % o.guests)], time, round > 7));
  }
  for (int i = 0; i < o.gone_backups; ++i)
    backups.push_back(make_backup(random, 90'000 + i / 3, i % 2 == 0, nodes[0]["node"].get<std::string>(), "gone",
                                  newest_backup - 400 * day + i * 600, false));

  json const storages = {{{"storage", "local"},
                          {"type", "dir"},
                          {"content", "iso,vztmpl,backup"},
                          {"shared", 0},
                          {"active", true},
                          {"path", "/var/lib/vz"},
                          {"total", 100 * gib},
                          {"used", 20 * gib}},
                         {{"storage", "local-lvm"},
                          {"type", "lvmthin"},
                          {"content", "images,rootdir"},
                          {"shared", 0},
                          {"active", true},
                          {"thinpool", "data"},
                          {"vgname", "pve"},
                          {"total", 800 * gib},
                          {"used", 300 * gib}},
                         {{"storage", "ceph"},
                          {"type", "rbd"},
                          {"content", "images,rootdir"},
                          {"shared", 1},
                          {"active", true},
                          {"pool", "rbd"},
                          {"total", 9000 * gib},
                          {"used", 4000 * gib}},
                         {{"storage", "nfs"},
                          {"type", "nfs"},
                          {"content", "backup,iso"},
                          {"shared", 1},
                          {"active", true},
                          {"server", "192.0.2.200"},
                          {"export", "/export/pve"},
                          {"path", "/mnt/pve/nfs"},
                          {"total", 20000 * gib},
                          {"used", 9000 * gib}},
                         {{"storage", "pbs"},
                          {"type", "pbs"},
                          {"content", "backup"},
                          {"shared", 1},
                          {"active", true},
                          {"server", "192.0.2.201"},
                          {"datastore", "main"},
                          {"username", "pve@pbs"},
                          {"total", 40000 * gib},
                          {"used", 15000 * gib}}};

  json on_storage = {{"Datastore.Audit", 1}};
  if (o.backup_rights) on_storage["Datastore.Allocate"] = 1;
  json model = {{"version", {{"version", "8.4.1"}, {"release", "8.4"}, {"repoid", "0123456789abcdef"}}},
                {"cluster", o.standalone ? json(nullptr) : json{{"name", o.cluster}, {"version", 7}, {"quorate", 1}}},
                {"nodes", nodes},
                {"guests", guests},
                {"storages", storages},
                {"backups", backups},
                {"pools", json::array({{{"poolid", "prod"}, {"comment", "production"}}})},
                {"access",
                 {{"tokens", {{o.token_id, o.token_secret}}},
                  {"users", {{o.username, o.password}}},
                  {"permissions",
                   {{"/", {{"Sys.Audit", 1}}},
                    {"/vms", {{"VM.Audit", 1}}},
                    {"/storage", on_storage},
                    {"/nodes", {{"Sys.Audit", 1}}},
                    {"/pool", {{"Pool.Audit", 1}}}}}}}};
  return model.dump(1);
}

}  // namespace weir::sim
