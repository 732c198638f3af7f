#include "tests/sim/virtual/life.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace weir::simulated {

using namespace std::chrono_literals;

namespace {

constexpr char const* vm_kind = "virtualization.virtualmachine";
constexpr char const* backup_kind = "netbox_proxbox.vmbackup";
constexpr char const* vm_path = "/api/virtualization/virtual-machines/";
constexpr char const* backup_path = "/api/plugins/proxbox/backups/";

std::string text(json const& v) {
  if (v.is_string()) return v.get<std::string>();
  if (v.is_object() && v.contains("value")) return text(v.at("value"));
  if (v.is_object() && v.contains("name")) return text(v.at("name"));
  return v.is_null() ? "" : v.dump();
}

bool has_tag(json const& vm, std::string const& slug) {
  auto const& tags = vm.at("tags");
  return std::any_of(tags.begin(), tags.end(), [&](json const& t) { return t.at("slug") == slug; });
}

double number(json const& v) {
  return v.is_number() ? v.get<double>() : v.is_string() ? std::strtod(v.get<std::string>().c_str(), nullptr) : -1;
}

}  // namespace

tally& total() {
  static tally t;
  return t;
}

// What NetBox holds, as far as it is compared.
struct life::seen {
  std::map<int, json> guests;                           // by vmid; ours
  std::map<std::pair<int, std::string>, json> backups;  // by vmid and volume; ours
  std::map<std::int64_t, json> vms;                     // by id; everybody's
  std::set<std::int64_t> ids[2];                        // virtual machines, backups
  std::vector<std::string> twice;
};

life::life(day d)
    : day_(std::move(d)),
      netbox_(line_, day_.load, day_.app, day_.ahead),
      host_(line_, netbox_, day_),
      people_(day_.seed * 77 + 5),
      story_(day_.story) {}
life::~life() {
  auto& t = total();
  ++t.days;
  t.crashes += host_.crashes();
  t.requests += netbox_.requests();
  t.writes += netbox_.writes();
  for (auto const& [what, times] : netbox_.struck()) t.struck[std::string(name(what))] += times;
}

void life::problem(std::string text) { host_.problem(std::move(text)); }
std::vector<std::string> life::problems() const { return host_.problems(); }

std::string life::told() const {
  std::string out = fmt::format(
      "profile {} ({} x {} objects, {} ms, {} in flight, {}/s, outage {} s, timeout {} s), {} x {} threads, {} "
      "connections, CONN_MAX_AGE {} s, {} guests, {} backups\n",
      day_.profile.name, day_.profile.batch_size, day_.profile.objects_per_request, day_.profile.batch_delay.count(),
      day_.profile.max_in_flight, day_.profile.requests_per_second, day_.profile.max_outage / 1s,
      day_.profile.request_timeout / 1s, day_.load.workers, day_.load.threads, day_.load.connections,
      day_.load.conn_max_age / 1s, day_.wanted.guests.size(), day_.wanted.backups.size());
  for (auto const& line : story_) out += "  " + line + "\n";
  return out;
}

life::seen life::look() {
  seen s;
  auto const list = [&](std::string const& path, std::string const& fields) {
    auto const body = netbox_.at_once("GET", path + "?limit=1000&fields=id," + fields);
    return body.empty() ? json::array() : json::parse(body).at("results");
  };
  std::map<std::int64_t, int> vmids;
  for (auto const& vm :
       list(vm_path, "name,status,cluster,device,vcpus,memory,tags,custom_fields,comments,description")) {
    auto const id = vm.at("id").get<std::int64_t>();
    s.ids[0].insert(id);
    s.vms.emplace(id, vm);
    auto const custom = vm.value("custom_fields", json::object());
    auto const vmid = custom.value("proxmox_vm_id", json());
    if (!vmid.is_number() || custom.value("proxmox_source", json()) != source_name) continue;
    vmids[id] = vmid.get<int>();
    if (!s.guests.emplace(vmid.get<int>(), vm).second) s.twice.push_back("guest " + vmid.dump());
  }
  for (auto const& b :
       list(backup_path, "virtual_machine,volume_id,storage,subtype,format,vmid,notes,size,custom_fields")) {
    s.ids[1].insert(b.at("id").get<std::int64_t>());
    auto const vm = vmids.find(b.at("virtual_machine").at("id").get<std::int64_t>());
    if (vm == vmids.end()) continue;
    auto const volume = text(b.at("volume_id"));
    if (!s.backups.emplace(std::pair(vm->second, volume), b).second) s.twice.push_back("backup " + volume);
  }
  for (auto const& [path, field] :
       std::vector<std::pair<std::string, std::string>>{{"/api/extras/tags/", "slug"},
                                                        {"/api/extras/custom-fields/", "name"},
                                                        {"/api/dcim/sites/", "slug"},
                                                        {"/api/dcim/manufacturers/", "slug"},
                                                        {"/api/dcim/device-types/", "slug"},
                                                        {"/api/dcim/device-roles/", "slug"},
                                                        {"/api/dcim/devices/", "name"},
                                                        {"/api/virtualization/cluster-types/", "slug"},
                                                        {"/api/virtualization/clusters/", "name"}}) {
    std::set<std::string> values;
    for (auto const& o : list(path, field))
      if (!values.insert(text(o.at(field))).second) s.twice.push_back(path + " " + text(o.at(field)));
  }
  return s;
}

void life::edit_something() {
  auto const now = look();
  if (now.guests.empty()) return;
  auto at = now.guests.begin();
  std::advance(at, people_.below(static_cast<int>(now.guests.size())));
  auto const& vm = at->second;
  auto const id = vm.at("id").get<std::int64_t>();
  auto const number_of = std::to_string(people_.below(1000));
  auto const patch = [&](json const& change) {
    return !netbox_.at_once("PATCH", vm_path + std::to_string(id) + "/", change.dump()).empty();
  };
  auto const remember = [&](std::string const& field, std::string const& value) {
    std::erase_if(edits_, [&](edit const& e) { return e.vm == id && e.field == field && field != "tag"; });
    edits_.push_back({id, field, value});
    story_.push_back(
        fmt::format("at {:.3f} s people write {} of #{}", static_cast<double>(line_.now().count()) / 1e9, field, id));
  };
  switch (people_.below(7)) {
    case 0:
      if (patch({{"comments", "note " + number_of}})) remember("comments", "note " + number_of);
      break;
    case 1:
      if (patch({{"description", "said " + number_of}})) remember("description", "said " + number_of);
      break;
    case 2: {
      json tags = json::array();
      for (auto const& t : vm.at("tags")) tags.push_back({{"slug", t.at("slug")}});
      netbox_.at_once("POST", "/api/extras/tags/", json{{"name", "people"}, {"slug", "people"}}.dump());
      tags.push_back({{"slug", "people"}});
      if (patch({{"tags", tags}})) remember("tag", "people");
      break;
    }
    case 3:
      ++edited_;
      patch({{"memory", 77}});
      break;
    case 4:
      crowded_ = true;
      if (patch({{"name", "people-" + number_of}})) remember("name", "people-" + number_of);
      break;
    case 5:
      if (now.backups.empty()) break;
      ++edited_;
      deleted_ = true;
      netbox_.at_once("DELETE", backup_path + std::to_string(now.backups.begin()->second.at("id").get<int>()) + "/");
      break;
    default: {
      edited_ += 1 + day_.wanted.backups.size();
      deleted_ = true;
      netbox_.at_once("DELETE", vm_path + std::to_string(id) + "/");
      std::erase_if(edits_, [&](edit const& e) { return e.vm == id; });
    }
  }
}

host::outcome life::run(run_plan const& plan) {
  line_.pass(plan.pause);
  auto const before = edited_;
  auto out = host_.run(plan, day_.wanted);
  std::string told = fmt::format("run {}: {}", out.run_id, out.crashed ? "crashed " + out.crashed_at : "ended");
  for (auto const& j : out.report.jobs) {
    told += fmt::format("; {} {}", j.stage, engine::name(j.status));
    if (!j.reason.what.empty()) told += " (" + j.reason.what + ")";
  }
  if (out.report.fatal) told += "; fatal: " + out.report.fatal->what;
  story_.push_back(fmt::format("{} at {:.3f} s", told, static_cast<double>(line_.now().count()) / 1e9));
  for (auto const& f : out.report.failures)
    story_.push_back("  failed: " + f.kind + " " + f.label.substr(0, 80) + ": " + f.message);
  auto& t = total();
  ++t.runs;
  t.looked_up += out.report.looked_up;
  if (!out.crashed) check_after(out, before);
  return out;
}

namespace {

// A name that people gave it stays: the field's rule is unless-edited.
bool equal(guest const& g, std::string const& node, json const& vm, std::vector<edit> const& edits) {
  auto const& custom = vm.at("custom_fields");
  auto const given = std::find_if(edits.begin(), edits.end(), [&](edit const& e) {
    return e.field == "name" && e.vm == vm.at("id").get<std::int64_t>();
  });
  return text(vm.at("name")) == (given == edits.end() ? g.name : given->value) &&
         text(vm.at("status")) == (g.running ? "active" : "offline") && text(vm.at("cluster")) == "cluster-a" &&
         text(vm.at("device")) == node && number(vm.at("vcpus")) == g.cpus && number(vm.at("memory")) == g.memory &&
         has_tag(vm, "weir") && (g.tag.empty() || has_tag(vm, g.tag)) &&
         text(custom.value("proxmox_vm_type", json())) == "qemu" && text(custom.value("proxmox_tags", json())) == g.tag;
}

bool equal(backup const& b, json const& o) {
  return text(o.at("storage")) == "nfs" && text(o.at("subtype")) == "qemu" && text(o.at("format")) == "zst" &&
         number(o.at("vmid")) == b.vmid && text(o.at("notes")) == b.notes &&
         number(o.at("size")) == static_cast<double>(b.size) &&
         text(o.at("custom_fields").value("proxmox_source", json())) == source_name;
}

struct difference {
  std::vector<std::string> guests, backups;  // missing, unequal or too many
};

}  // namespace

static difference compare(source const& wanted, std::map<int, json> const& guests,
                          std::map<std::pair<int, std::string>, json> const& backups, std::vector<edit> const& edits) {
  difference d;
  for (std::size_t i = 0; i < wanted.guests.size(); ++i) {
    auto const& g = wanted.guests[i];
    auto const found = guests.find(g.vmid);
    if (found == guests.end() || g.bad || !equal(g, wanted.nodes[i % wanted.nodes.size()], found->second, edits))
      d.guests.push_back(std::to_string(g.vmid) + (g.bad ? " (bad)" : found == guests.end() ? " missing" : " differs"));
  }
  std::set<std::pair<int, std::string>> all;
  for (auto const& b : wanted.backups) {
    all.emplace(b.vmid, b.volume);
    auto const found = backups.find({b.vmid, b.volume});
    if (found == backups.end() || b.bad || !equal(b, found->second))
      d.backups.push_back(b.volume + (b.bad ? " (bad)" : found == backups.end() ? " missing" : " differs"));
  }
  for (auto const& [key, o] : backups)
    if (!all.contains(key)) d.backups.push_back(key.second + " is gone from the source");
  return d;
}

void life::check_after(host::outcome const& o, std::size_t edits_before) {
  auto const now = look();
  for (auto const& t : now.twice) problem("twice in NetBox: " + t);
  auto const wrong = compare(day_.wanted, now.guests, now.backups, edits_);
  // People may change things after the run has read them.
  auto const touched = edited_ - edits_before;
  for (auto const& j : o.report.jobs) {
    for (auto const& [stage, kind, list] :
         {std::tuple("virtual-machines", vm_kind, &wrong.guests), std::tuple("backups", backup_kind, &wrong.backups)}) {
      if (j.stage != stage) continue;
      auto const c = j.kinds.find(kind);
      if (c == j.kinds.end()) {
        if (j.status == engine::job_status::ok) problem(std::string("run ") + o.run_id + ": no word of " + kind);
        continue;
      }
      auto const admitted = c->second.failed + c->second.deferred + c->second.skipped + touched;
      if (list->size() > admitted)
        problem(fmt::format("run {}, {}: {} are not as wanted, {} failed, {} deferred, {} skipped; e.g. {}", o.run_id,
                            stage, list->size(), c->second.failed, c->second.deferred, c->second.skipped,
                            list->front()));
    }
    if (j.status != engine::job_status::ok && j.reason.what.empty() &&
        std::none_of(j.kinds.begin(), j.kinds.end(), [](auto const& k) { return k.second.deferred > 0; }))
      problem("stage " + j.stage + " did not succeed, and nobody says why");
  }
  // Where nobody else writes, who is told that something exists already has sent it twice.
  if (!crowded_ && netbox_.struck().count(trouble::other_host) + netbox_.struck().count(trouble::lost_race) == 0)
    for (auto const& f : o.report.failures)
      if (f.message.find("already exists") != std::string::npos ||
          f.message.find("must be unique") != std::string::npos)
        problem("sent twice: " + f.kind + " " + f.label + ": " + f.message);
  check_journal(&o, now);
}

// Of the run that has just ended; without one, of all of them, for good.
void life::check_journal(host::outcome const* last, seen const& now) {
  bool const final = last == nullptr;
  auto const journal = host_.read_journal();
  auto const runs = journal->runs(1000).value();
  bool const blind = !day_.app.tokens.empty() && !day_.app.tokens.front().denied.empty();
  for (auto const& r : runs) {
    bool const mine = last && r.id == last->run_id;
    if (!mine && !final) continue;
    for (auto const& b : journal->batches(r.id).value()) {
      using state = store::batch_state;
      auto const what = fmt::format("batch {}#{} ({} {} objects of {}, {})", r.id, b.number, b.verb, b.objects, b.kind,
                                    store::name(b.state));
      if (b.state == state::pending || b.state == state::sent) problem(what + " has no end");
      if (final && b.state == state::unknown) problem(what + " is still not known");
      bool const landed = netbox_.landed().contains(b.marker);
      if (b.verb != "POST" || b.marker.empty()) continue;
      // Without the change log nothing more can be found out of an earlier process's batch: the next run looks.
      if (landed && (b.state == state::failed || b.state == state::deferred) && !deleted_ &&
          !(blind && r.state == store::run_state::resumed) && !(blind && b.state == state::deferred))
        problem(what + " is taken for not committed, but it was: " + b.reason);
      if (!mine || b.state != state::done || deleted_) continue;
      int const which = b.kind == vm_kind ? 0 : b.kind == backup_kind ? 1 : -1;
      for (auto const& object : journal->objects(r.id, b.number).value())
        if (object.state == state::done && which >= 0 &&
            !now.ids[which].contains(static_cast<std::int64_t>(object.netbox_id)))
          problem(fmt::format("{} is done, but NetBox has no {} ({})", what, object.netbox_id, object.label));
    }
  }
}

void life::heal() {
  auto const quiet = quiet_from(day_);
  netbox_.heal();
  if (line_.now() < quiet + 1s) line_.pass(quiet + 1s - line_.now());
  netbox_.restart();
  line_.pass(5s);
}

void life::arrive() {
  std::size_t bad_guests = 0, bad_backups = 0;
  for (auto const& g : day_.wanted.guests) bad_guests += g.bad;
  std::set<int> gone;
  for (auto const& g : day_.wanted.guests)
    if (g.bad) gone.insert(g.vmid);
  for (auto const& b : day_.wanted.backups) bad_backups += b.bad || gone.contains(b.vmid);
  auto last = run({});
  // Where NetBox has more threads than connections, and a profile allows hardly an attempt, a run may have to leave
  // something: NetBox's workers are restarted, as weir says, and the next one goes on.
  bool const tight = day_.load.workers * day_.load.threads > day_.load.connections;
  for (int more = 0; tight && last.report.fatal && more < 10; ++more) {
    netbox_.restart();
    line_.pass(5s);
    last = run({});
  }
  if (last.crashed || last.report.fatal) return problem("the healthy run failed");
  for (auto const& j : last.report.jobs) {
    if (j.status != engine::job_status::ok) problem("healthy, but stage " + j.stage + ": " + j.reason.what);
    for (auto const& [kind, c] : j.kinds)
      if (c.deferred > 0 || (kind != vm_kind && kind != backup_kind && c.failed > 0))
        problem(fmt::format("healthy, but of {} {} failed, {} were deferred", kind, c.failed, c.deferred));
  }
  auto const now = look();
  auto const wrong = compare(day_.wanted, now.guests, now.backups, edits_);
  if (wrong.guests.size() != bad_guests)
    problem(fmt::format("in the end {} guests are not as wanted, {} are bad; e.g. {}", wrong.guests.size(), bad_guests,
                        wrong.guests.empty() ? "" : wrong.guests.front()));
  if (wrong.backups.size() != bad_backups)
    problem(fmt::format("in the end {} backups are not as wanted, {} are bad; e.g. {}", wrong.backups.size(),
                        bad_backups, wrong.backups.empty() ? "" : wrong.backups.front()));
  for (auto const& e : edits_) {
    auto const vm = now.vms.find(e.vm);
    if (vm == now.vms.end()) {
      problem(fmt::format("the virtual machine #{} that people edited is gone", e.vm));
      continue;
    }
    bool const there = e.field == "tag" ? has_tag(vm->second, e.value) : text(vm->second.at(e.field)) == e.value;
    if (!there) problem(fmt::format("people's {} '{}' of #{} did not survive", e.field, e.value, e.vm));
  }
  check_journal(nullptr, now);
  auto const journal = host_.read_journal();
  if (bad_guests + bad_backups == 0 && !journal->unfinished(netbox_url).value().empty())
    problem("a run is unfinished although everything is done");

  // Nothing is left to do but what NetBox refuses.
  auto const writes = netbox_.writes();
  auto const idle = run({});
  std::size_t planned = 0;
  for (auto const& j : idle.report.jobs)
    for (auto const& p : j.plans) planned += p.creates.size() + p.updates.size() + p.deletes.size();
  std::size_t const refused = bad_guests + bad_backups;
  if (planned > refused) problem(fmt::format("the next run plans {} changes, {} are refused ones", planned, refused));
  if (refused == 0 && netbox_.writes() != writes)
    problem(fmt::format("the next run writes: {} requests", netbox_.writes() - writes));
}

void life::live() {
  dice random(day_.seed * 31 + 7);
  if (day_.begins > 0s) {
    auto const filled = run({});
    if (filled.report.fatal) problem("the quiet run failed: " + filled.report.fatal->what);
    if (line_.now() < day_.begins) line_.pass(day_.begins - line_.now());
    change(day_.wanted, random);
  }
  auto const begin = netbox_.requests();
  for (auto const& f : day_.faults) netbox_.add(f);
  for (auto const at : day_.edits) netbox_.at_request(begin + at, [this] { edit_something(); });
  for (auto const at : day_.redis_restarts)
    netbox_.at_request(begin + at, [this] {
      netbox_.redis(false);
      line_.at(line_.now() + 8s, 0, [this] { netbox_.redis(true); });
    });
  for (auto const at : day_.gunicorn_restarts) netbox_.at_request(begin + at, [this] { netbox_.restart(); });
  for (auto const& plan : day_.runs) {
    if (plan.source_changes) change(day_.wanted, random);
    run(plan);
  }
  heal();
  arrive();
}

}  // namespace weir::simulated
