#include "tests/sim/virtual/day.hpp"

#include <algorithm>

namespace weir::simulated {

using namespace std::chrono_literals;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

namespace {

json cluster_key() { return {{"custom_fields.proxmox_source", source_name}, {"name", "cluster-a"}}; }
json device_key(std::string const& node) { return {{"custom_fields.proxmox_source", source_name}, {"name", node}}; }
json guest_key(int vmid) {
  return {{"custom_fields.proxmox_source", source_name}, {"custom_fields.proxmox_vm_id", vmid}};
}

struct emitter {
  engine::collected out;
  void operator()(std::string const& kind, json const& key, json const& fields) {
    out.objects[kind].push_back({key.dump(), fields.dump()});
  }
  void custom_field(std::string const& name, std::string const& type, json const& on) {
    (*this)("extras.customfield", {{"name", name}},
            {{"type", type},
             {"object_types", on},
             {"label", name},
             {"description", "of weir"},
             {"filter_logic", "exact"},
             {"ui_editable", "no"}});
  }
  void tag(std::string const& slug) {
    (*this)("extras.tag", {{"slug", slug}}, {{"name", slug}, {"color", "009688"}, {"description", "of weir"}});
  }
};

std::string volume_of(int vmid, int n) {
  return "nfs:backup/vzdump-qemu-" + std::to_string(vmid) + "-2026_04_" + std::to_string(10 + n) + ".vma.zst";
}

guest draw_guest(dice& random, int vmid) {
  return {vmid,
          "guest-" + std::to_string(vmid),
          random.chance(40) ? "team-" + std::to_string(random.below(3)) : "",
          random.chance(70),
          512 * random.between(1, 8),
          random.between(1, 4),
          false};
}

backup draw_backup(dice& random, int vmid, int n) {
  return {vmid, volume_of(vmid, n), random.chance(30) ? "before the upgrade" : "",
          1'000'000LL * random.between(1, 9000), false};
}

config::profile shipped(std::string const& name) {
  config::profile p;
  p.name = name;
  if (name == "ultra-conservative") {
    p.batch_size = 3, p.batch_delay = 500ms, p.objects_per_request = 10, p.max_in_flight = 1, p.requests_per_second = 2;
    p.max_attempts = 6, p.backoff_base = 2000ms, p.backoff_cap = 60000ms, p.max_outage = 600000ms;
    p.request_timeout = 180000ms, p.connect_timeout = 20000ms;
  } else if (name == "aggressive") {
    p.batch_size = 10, p.batch_delay = 50ms, p.objects_per_request = 100, p.max_in_flight = 4;
    p.requests_per_second = 50;
    p.max_attempts = 4, p.backoff_base = 500ms, p.backoff_cap = 15000ms, p.max_outage = 120000ms;
  }
  return p;  // conservative: the defaults
}

config::profile draw_profile(dice& random) {
  if (random.chance(70))
    return shipped(random.one_of<char const*>({"ultra-conservative", "conservative", "aggressive"}));
  config::profile p;
  p.name = "odd";
  p.batch_size = static_cast<std::size_t>(random.one_of({0, 1, 2, 7, 50}));
  p.batch_delay = milliseconds(random.one_of({0, 1, 333, 2000}));
  p.objects_per_request = static_cast<std::size_t>(random.one_of({1, 3, 17, 500}));
  p.max_in_flight = static_cast<std::size_t>(random.one_of({1, 2, 3, 8, 32}));
  p.requests_per_second = random.one_of({0.0, 1.5, 7.0, 200.0});
  p.max_attempts = static_cast<std::size_t>(random.one_of({1, 2, 4, 10}));
  p.backoff_base = milliseconds(random.one_of({0, 10, 3000}));
  p.backoff_cap = milliseconds(random.one_of({0, 500, 60000}));
  p.max_outage = milliseconds(random.one_of({20000, 60000, 300000}));
  p.request_timeout = milliseconds(random.one_of({20000, 60000, 120000}));
  return p;
}

sim::load_scenario draw_load(dice& random, std::uint64_t seed) {
  sim::load_scenario s;
  s.seed = seed;
  s.workers = random.between(1, 4);
  s.threads = random.one_of({1, 2, 3, 8});
  s.cores = random.one_of({1.0, 2.0, 4.0});
  s.connections = random.chance(30) ? random.between(3, 8) : 97;
  s.conn_max_age = random.one_of<sim::virtual_time>({0s, 5s, 300s});
  s.write_base = milliseconds(random.between(20, 100));
  s.write_object = milliseconds(random.between(4, 40));
  s.read_base = milliseconds(random.between(20, 200));
  s.proxy_timeout = random.one_of<sim::virtual_time>({0s, 15s, 60s});
  s.users_per_second = random.one_of({0.0, 0.0, 0.5, 3.0});
  return s;
}

std::string seconds(sim::virtual_time t) { return std::to_string(t.count() / 1000000) + " s"; }

}  // namespace

source draw_source(dice& random, int guests, int backups) {
  source s;
  for (int i = 0; i < random.between(1, 3); ++i) s.nodes.push_back("node-" + std::to_string(i));
  for (int i = 0; i < guests; ++i) s.guests.push_back(draw_guest(random, 100 + i));
  for (int i = 0; i < backups; ++i) s.backups.push_back(draw_backup(random, 100 + i % guests, i / guests));
  return s;
}

void change(source& s, dice& random) {
  for (auto& g : s.guests) {
    if (g.bad || !random.chance(25)) continue;
    if (random.chance(50)) g.memory = 512 * random.between(1, 8);
    if (random.chance(30)) g.running = !g.running;
    if (random.chance(20)) g.tag = random.chance(50) ? "" : "team-" + std::to_string(random.below(4));
    if (random.chance(10)) g.name = "renamed-" + std::to_string(g.vmid) + "-" + std::to_string(random.below(100));
  }
  std::erase_if(s.backups, [&](backup const& b) { return !b.bad && random.chance(10); });
  for (auto& b : s.backups)
    if (!b.bad && random.chance(10)) b.size += 1000;
  int const more = random.between(0, 10);
  for (int i = 0; i < more; ++i) {
    auto const vmid = s.guests[static_cast<std::size_t>(random.below(static_cast<int>(s.guests.size())))].vmid;
    auto const fresh = draw_backup(random, vmid, 20 + random.below(60));
    if (std::none_of(s.backups.begin(), s.backups.end(), [&](auto const& b) { return b.volume == fresh.volume; }))
      s.backups.push_back(fresh);
  }
}

void add_kinds(weir::netbox::registry& to) {
  auto own = weir::netbox::parse_kinds(R"json(["extras.customfield",
          {"kind":"netbox_proxbox.vmbackup","path":"plugins/proxbox/backups","title":"backup",
           "key":["virtual_machine","volume_id"],"refs":{"virtual_machine":"virtualization.virtualmachine"},
           "times":["creation_time"],"label":"volume_id","mark":"custom_fields.proxmox_source","orphans":"delete",
           "skip_when_missing":["virtual_machine"],"requires_plugin":"netbox_proxbox"}])json");
  for (auto& k : own.value()) to.add(std::move(k), "test").value();
}

engine::collected emitted(source const& s, std::string const& stage) {
  emitter emit;
  json const ours = {{"custom_fields.proxmox_source", source_name}};
  if (stage == "nodes") {
    json const type = {{"slug", "proxmox-ve"}}, maker = {{"slug", "proxmox"}}, site = {{"slug", "home"}},
               role = {{"slug", "hypervisor"}}, model = {{"manufacturer", maker}, {"slug", "node"}};
    emit.custom_field("proxmox_source", "text", {"virtualization.cluster", "dcim.device"});
    emit.tag("weir");
    emit("virtualization.clustertype", type, {{"name", "Proxmox VE"}});
    emit("dcim.manufacturer", maker, {{"name", "Proxmox"}});
    emit("dcim.devicetype", model, {{"model", "Node"}});
    emit("dcim.devicerole", role, {{"name", "Hypervisor"}, {"color", "00bcd4"}, {"vm_role", false}});
    emit("dcim.site", site, {{"name", "Home"}, {"status", "active"}});
    emit("virtualization.cluster", cluster_key(),
         {{"type", type}, {"status", "active"}, {"scope_type", "dcim.site"}, {"scope_id", site}, {"tags", {"weir"}}});
    for (auto const& n : s.nodes)
      emit("dcim.device", device_key(n),
           {{"cluster", cluster_key()},
            {"tags", {"weir"}},
            {"status", "active"},
            {"$create", {{"device_type", model}, {"role", role}, {"site", site}}}});
    emit.out.complete["dcim.device"].push_back(ours.dump());
  } else if (stage == "virtual-machines") {
    json const on = {"virtualization.virtualmachine"}, role = {{"slug", "virtual-machine-qemu"}};
    emit.custom_field("proxmox_source", "text", on);
    emit.custom_field("proxmox_vm_id", "integer", on);
    emit.custom_field("proxmox_vm_type", "text", on);
    emit.custom_field("proxmox_tags", "text", on);
    emit("dcim.devicerole", role, {{"name", "Virtual Machine (QEMU)"}, {"color", "00ffff"}, {"vm_role", true}});
    emit.tag("weir");
    for (auto const& g : s.guests)
      if (!g.tag.empty()) emit.tag(g.tag);
    for (std::size_t i = 0; i < s.guests.size(); ++i) {
      auto const& g = s.guests[i];
      json tags = {"weir"};
      if (!g.tag.empty()) tags.push_back(g.tag);
      emit("virtualization.virtualmachine", guest_key(g.vmid),
           {{"name", g.bad ? std::string(65, 'x') : g.name},
            {"status", g.running ? "active" : "offline"},
            {"cluster", cluster_key()},
            {"device", device_key(s.nodes[i % s.nodes.size()])},
            {"vcpus", g.cpus},
            {"memory", g.memory},
            {"tags", tags},
            {"custom_fields", {{"proxmox_vm_type", "qemu"}, {"proxmox_tags", g.tag.empty() ? json() : json(g.tag)}}},
            {"$create", {{"role", role}}}});
    }
    emit.out.complete["virtualization.virtualmachine"].push_back(ours.dump());
  } else {
    emit.custom_field("proxmox_source", "text", {"netbox_proxbox.vmbackup"});
    for (auto const& b : s.backups)
      emit("netbox_proxbox.vmbackup", {{"virtual_machine", guest_key(b.vmid)}, {"volume_id", b.volume}},
           {{"storage", "nfs"},
            {"subtype", "qemu"},
            {"format", b.bad ? "nonsense" : "zst"},
            {"vmid", b.vmid},
            {"notes", b.notes.empty() ? json() : json(b.notes)},
            {"size", b.size},
            {"used", nullptr},
            {"creation_time", "2026-04-29T01:00:00Z"},
            {"custom_fields", {{"proxmox_source", source_name}}}});
    json scope = ours;
    scope["storage"] = "nfs";
    emit.out.complete["netbox_proxbox.vmbackup"].push_back(scope.dump());
  }
  return std::move(emit.out);
}

instant quiet_from(day const& d) {
  instant last{0};
  for (auto const& e : d.load.events) last = std::max(last, instant(e.to));
  return last;
}

day draw_day(std::uint64_t seed) {
  using what = sim::load_event::what;
  day d;
  d.seed = seed;
  dice random(seed * 0x9E3779B97F4A7C15ULL + 1);
  d.load = draw_load(random, seed);
  d.profile = draw_profile(random);
  if (random.chance(8)) d.control = throttle::control::observe;
  d.ahead = std::chrono::seconds(random.one_of({0, 0, -90, 600, -86400}));
  d.wanted = draw_source(random, random.between(5, 25), random.between(20, 120));
  if (random.chance(40)) d.begins = 900s;
  if (random.chance(15)) {
    d.app.tokens = sim::default_tokens();
    d.app.tokens.front().denied = {"core.objectchange:view"};
    d.story.push_back("the token may not read the change log");
  }
  auto const say = [&](std::string text) { d.story.push_back(std::move(text)); };
  int const things = random.between(0, 6);
  for (int i = 0; i < things; ++i) {
    auto const from =
        std::chrono::floor<sim::virtual_time>(d.begins) + sim::virtual_time(milliseconds(random.below(40000)));
    auto const lasting = [&](int most_s) {
      return sim::virtual_time(milliseconds(random.between(200, most_s * 1000)));
    };
    auto const window = [&](what kind, int most_s, char const* words) -> sim::load_event& {
      sim::load_event e;
      e.kind = kind;
      e.from = from;
      e.to = from + lasting(most_s);
      d.load.events.push_back(e);
      say(std::string(words) + " from " + seconds(e.from) + " to " + seconds(e.to));
      return d.load.events.back();
    };
    switch (random.below(14)) {
      case 0:
        window(what::slow, 60, "slow").factor = random.between(2, 12);
        break;
      case 1:
        window(what::too_many, 15, "429").amount = random.between(1, 20);
        break;
      case 2:
        window(what::database_down, 60, "PostgreSQL is away");
        break;
      case 3:
        window(what::web_down, 40, "gunicorn is away");
        break;
      case 4:
        random.chance(50) ? window(what::bad_gateway, 30, "502 before")
                          : window(what::bad_gateway_after, 30, "502 after the commit");
        break;
      case 9:
        window(what::neighbour, 40, "a neighbour").amount = random.between(1, d.load.connections);
        break;
      case 5:
        window(what::hang, 10, "nothing is answered");
        break;
      case 6: {
        auto const at = static_cast<std::uint64_t>(random.between(2, 60));
        random.chance(50) ? d.redis_restarts.push_back(at) : d.gunicorn_restarts.push_back(at);
        say("restart of Redis or gunicorn at request " + std::to_string(at));
        break;
      }
      case 7:
        for (int n = random.between(1, 4); n > 0; --n)
          d.edits.push_back(static_cast<std::uint64_t>(random.between(5, 60)));
        say("people edit objects");
        break;
      case 8:
        if (random.chance(50)) {
          d.wanted.guests[static_cast<std::size_t>(random.below(static_cast<int>(d.wanted.guests.size())))].bad = true;
          say("a guest that NetBox refuses");
        } else {
          for (int n = random.between(1, 3); n > 0; --n)
            d.wanted.backups[static_cast<std::size_t>(random.below(static_cast<int>(d.wanted.backups.size())))].bad =
                true;
          say("backups that NetBox refuses");
        }
        break;
      default: {
        fault f;
        f.what = random.chance(20) ? random.one_of({trouble::reset_early, trouble::gateway_timeout})
                                   : static_cast<trouble>(random.below(static_cast<int>(troubles)));
        f.writes_only = random.chance(75);
        f.posts_only = f.what == trouble::other_host || f.what == trouble::lost_race;
        f.skip = random.below(12);
        f.times = random.between(1, 4);
        f.delay = milliseconds(random.between(1, random.one_of({10, 100, 1000, 4000})));
        f.held = milliseconds(random.one_of({0, 0, 500, 1800}));
        d.faults.push_back(f);
        say(std::string(name(f.what)) + (f.writes_only ? " at write " : " at request ") + std::to_string(f.skip + 1) +
            ", " + std::to_string(f.times) + " times, " + std::to_string(f.delay / 1ms) + " ms");
      }
    }
  }
  int const runs = random.between(1, 3);
  for (int i = 0; i < runs; ++i) {
    run_plan r;
    if (random.chance(30)) {
      r.crash.emplace();
      if (random.chance(75))
        r.crash->step = static_cast<std::uint64_t>(random.between(1, random.chance(50) ? 40 : 200));
      else
        r.crash->after = milliseconds(random.between(1, 20000));
    }
    if (random.chance(12)) r.stop = milliseconds(random.between(1, 15000));
    if (random.chance(8)) r.max_duration = milliseconds(random.between(1, 15000));
    r.resume = random.chance(50);
    r.source_changes = i > 0 && random.chance(40);
    r.pause = milliseconds(random.one_of({0, 0, 300, 5000, 90000}));
    if (r.crash)
      say("run " + std::to_string(i + 1) + " crashes " +
          (r.crash->step ? "at step " + std::to_string(*r.crash->step)
                         : "after " + std::to_string(*r.crash->after / 1ms) + " ms"));
    if (r.stop) say("run " + std::to_string(i + 1) + " is stopped after " + std::to_string(*r.stop / 1ms) + " ms");
    if (r.max_duration)
      say("run " + std::to_string(i + 1) + " may take " + std::to_string(*r.max_duration / 1ms) + " ms");
    d.runs.push_back(r);
  }
  return d;
}

}  // namespace weir::simulated
