// The generator makes the same cluster from the same numbers, with all the variety that real ones have; the API answers
// in Proxmox VE's shapes.
#include "core/sim/proxmox.hpp"
#include "sim/raw_client.hpp"

#include <curl/curl.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace {

using nlohmann::json;
using weir::sim::proxmox_options;
using weir::sim::proxmox_server;

sim_test::header_list const token{{"Authorization", "PVEAPIToken=sync@pve!weir=00000000-1111-2222-3333-444444444444"}};

sim_test::reply get(proxmox_server const& server, std::string const& path) {
  return sim_test::once(server.url(), "GET", "/api2/json" + path, token);
}
json data(proxmox_server const& server, std::string const& path) {
  auto const r = get(server, path);
  EXPECT_EQ(r.status, 200) << path << " " << r.reason;
  return json::parse(r.body).at("data");
}

}  // namespace

TEST(proxmox_generator, makes_the_same_model_from_the_same_numbers) {
  proxmox_options o;
  auto const one = weir::sim::generate_proxmox_model(o);
  EXPECT_EQ(one, weir::sim::generate_proxmox_model(o));
  o.seed = 2;
  EXPECT_NE(one, weir::sim::generate_proxmox_model(o));
}

TEST(proxmox_generator, makes_as_much_as_it_is_asked_for_with_the_variety_of_real_clusters) {
  proxmox_options o;
  o.guests = 400;
  o.backups = 4000;
  o.gone_backups = 7;
  o.duplicate_names = 2;
  auto const model = json::parse(weir::sim::generate_proxmox_model(o));
  EXPECT_EQ(model["nodes"].size(), 3U);
  ASSERT_EQ(model["guests"].size(), 400U);
  ASSERT_EQ(model["backups"].size(), 4007U);
  std::set<std::string> seen;
  for (auto const& g : model["guests"]) {
    auto const& c = g["config"];
    seen.insert(g["type"].get<std::string>());
    seen.insert(g["status"].get<std::string>());
    seen.insert(c.contains("memory") ? (c["memory"].is_string() ? "memory text" : "memory number") : "memory absent");
    for (auto const* key : {"template", "tags", "description", "cores", "name", "hostname", "unused0", "tpmstate0",
                            "scsi5", "mp0", "mp1"})
      seen.insert(std::string(key) + (c.contains(key) ? "" : " absent"));
    if (c.value("tags", "") == " ") seen.insert("blank tags");
    for (auto const& [key, value] : c.items()) {
      if (!value.is_string()) continue;
      auto const text = value.get<std::string>();
      if (text.find("cloudinit") != std::string::npos) seen.insert("cloud-init");
      if (text.find("media=cdrom") != std::string::npos) seen.insert("cdrom");
      if (auto const at = text.find("size="); at != std::string::npos)
        seen.insert(std::string("size ") + text[text.find_first_not_of("0123456789", at + 5)]);
      if (key == "description" && text.find("\n") != std::string::npos && text.find("Ü") != std::string::npos)
        seen.insert("UTF-8 lines");
    }
  }
  std::set<std::string> formats;
  std::set<std::string> volumes;
  for (auto const& b : model["backups"]) {
    formats.insert(b["format"].get<std::string>());
    EXPECT_TRUE(volumes.insert(b["volid"].get<std::string>() + "@" + b["node"].dump()).second) << b.dump();
    for (auto const* key : {"protected", "notes", "encrypted", "verification", "subtype"})
      seen.insert(std::string("backup ") + key + (b.contains(key) ? "" : " absent"));
    if (b["vmid"].get<int>() >= 90'000) seen.insert("gone");
  }
  for (auto const* wanted : {"qemu",
                             "lxc",
                             "running",
                             "stopped",
                             "paused",
                             "memory text",
                             "memory number",
                             "memory absent",
                             "template",
                             "tags",
                             "tags absent",
                             "blank tags",
                             "description",
                             "cores absent",
                             "unused0",
                             "tpmstate0",
                             "scsi5",
                             "mp0",
                             "mp1",
                             "cloud-init",
                             "cdrom",
                             "size K",
                             "size M",
                             "size G",
                             "size T",
                             "UTF-8 lines",
                             "name absent",
                             "hostname",
                             "backup protected",
                             "backup notes",
                             "backup encrypted",
                             "backup verification",
                             "backup subtype",
                             "backup subtype absent",
                             "gone"})
    EXPECT_EQ(seen.count(wanted), 1U) << wanted;
  EXPECT_EQ(formats, (std::set<std::string>{"pbs-vm", "pbs-ct", "vma.zst", "vma.gz", "vma.lzo", "vma", "tar.zst",
                                            "tar.gz", "tar.lzo", "tar"}));
}

TEST(proxmox_server, answers_in_proxmox_shapes) {
  proxmox_server server;
  EXPECT_EQ(data(server, "/version")["release"], "8.4");
  auto const status = data(server, "/cluster/status");
  ASSERT_EQ(status.size(), 4U);
  EXPECT_EQ(status[0]["type"], "cluster");
  EXPECT_EQ(status[0]["name"], "pve-a");
  auto const guests = data(server, "/cluster/resources?type=vm");
  ASSERT_EQ(guests.size(), 60U);
  for (auto const& g : guests) {
    EXPECT_EQ(g["id"], g["type"].get<std::string>() + "/" + std::to_string(g["vmid"].get<int>()));
    auto const config =
        data(server, "/nodes/" + g["node"].get<std::string>() + "/" + g["id"].get<std::string>() + "/config");
    EXPECT_TRUE(config.contains("digest"));
    if (g["type"] == "qemu") {
      EXPECT_EQ(g["name"], config.value("name", "VM " + std::to_string(g["vmid"].get<int>())));
    }
    if (g["status"] == "stopped") {
      EXPECT_EQ(g["uptime"], 0);
    }
  }
  EXPECT_EQ(data(server, "/cluster/resources").size(), 1 + 60 + 3 + 3 * 5 + 3U);
  std::set<std::string> volumes;
  for (auto const& node : data(server, "/nodes"))
    for (auto const& storage : data(server, "/nodes/" + node["node"].get<std::string>() + "/storage?content=backup")) {
      auto const rows = data(server, "/nodes/" + node["node"].get<std::string>() + "/storage/" +
                                         storage["storage"].get<std::string>() + "/content?content=backup");
      for (auto const& row : rows) volumes.insert(row["volid"].get<std::string>());
    }
  EXPECT_EQ(volumes.size(), 600U);
  EXPECT_EQ(data(server, "/nodes/pve-a-n1/storage/nfs/content?content=backup"),
            data(server, "/nodes/pve-a-n2/storage/nfs/content?content=backup"));
}

TEST(proxmox_server, puts_errors_into_the_reason_phrase) {
  proxmox_server server;
  EXPECT_EQ(sim_test::once(server.url(), "GET", "/api2/json/version").status, 401);
  auto const wrong =
      sim_test::once(server.url(), "GET", "/api2/json/version", {{"Authorization", "PVEAPIToken=sync@pve!weir=x"}});
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(wrong.reason, "invalid token value!");
  auto const missing = get(server, "/nodes/pve-a-n1/storage/nosuch/content");
  EXPECT_EQ(missing.status, 500);
  EXPECT_EQ(missing.reason, "storage 'nosuch' does not exist");
  EXPECT_EQ(missing.body, R"({"data":null})");
  EXPECT_EQ(get(server, "/nosuch").status, 501);
}

TEST(proxmox_server, logs_in_by_ticket) {
  proxmox_server server;
  sim_test::header_list const form{{"Content-Type", "application/x-www-form-urlencoded"}};
  EXPECT_EQ(sim_test::once(server.url(), "POST", "/api2/json/access/ticket", form, "username=sync%40pve&password=wrong")
                .reason,
            "authentication failure");
  auto const r =
      sim_test::once(server.url(), "POST", "/api2/json/access/ticket", form, "username=sync%40pve&password=simulated");
  ASSERT_EQ(r.status, 200);
  auto const ticket = json::parse(r.body)["data"]["ticket"].get<std::string>();
  std::string encoded;
  for (char const c : ticket)
    encoded += c == '+'   ? std::string("%2B")
               : c == '/' ? std::string("%2F")
               : c == '=' ? std::string("%3D")
                          : std::string(1, c);
  EXPECT_EQ(sim_test::once(server.url(), "GET", "/api2/json/version", {{"Cookie", "PVEAuthCookie=" + encoded}}).status,
            200);
  EXPECT_EQ(sim_test::once(server.url(), "GET", "/api2/json/version", {{"Cookie", "PVEAuthCookie=PVE:x"}}).reason,
            "permission denied - invalid PVE ticket");
}

TEST(proxmox_server, loses_a_node_a_storage_and_its_rights) {
  proxmox_server server;
  auto model = json::parse(server.model());
  auto const node = model["nodes"][1]["node"].get<std::string>();
  model["nodes"][1]["online"] = false;
  model["storages"][3]["active"] = false;
  server.set_model(model.dump());
  int unknown = 0;
  for (auto const& g : data(server, "/cluster/resources?type=vm"))
    if (g["node"] == node) {
      ++unknown;
      EXPECT_EQ(g["status"], "unknown");
      EXPECT_FALSE(g.contains("name"));
      EXPECT_FALSE(g.contains("maxmem"));
    }
  EXPECT_GT(unknown, 0);
  EXPECT_EQ(get(server, "/nodes/" + node + "/storage").status, 595);
  EXPECT_EQ(data(server, "/cluster/status")[2]["online"], 0);
  EXPECT_EQ(get(server, "/nodes/pve-a-n1/storage/nfs/content").reason, "storage 'nfs' is not online");
  EXPECT_GT(data(server, "/nodes/pve-a-n1/storage/pbs/content?content=backup").size(), 0U);
  model["access"]["permissions"]["/storage"] = {{"Datastore.Audit", 1}};
  server.set_model(model.dump());
  EXPECT_EQ(data(server, "/nodes/pve-a-n1/storage/pbs/content?content=backup").size(), 0U);
  EXPECT_EQ(data(server, "/access/permissions")["/storage"].count("Datastore.Allocate"), 0U);
  EXPECT_THROW(server.set_model("{}"), std::invalid_argument);
}

TEST(proxmox_server, changes_over_the_control_path) {
  proxmox_server server;
  auto const patched = sim_test::once(
      server.url(), "PATCH", "/_sim/model", {},
      R"([{"op":"add","path":"/guests/0/config/name","value":"renamed"},{"op":"replace","path":"/guests/0/type","value":"qemu"}])");
  EXPECT_EQ(patched.status, 200) << patched.body;
  EXPECT_EQ(data(server, "/cluster/resources?type=vm")[0]["name"], "renamed");
  EXPECT_EQ(server.counters().by_endpoint.at("GET /cluster/resources"), 1U);
  auto const node = json::parse(server.model())["guests"][0]["node"].get<std::string>();
  get(server, "/nodes/" + node + "/qemu/100/config");
  EXPECT_EQ(server.counters().by_endpoint.at("GET /nodes/{node}/qemu/{vmid}/config"), 1U);
  server.set_faults(
      R"([{"path_regex":"/cluster/status","status":596,"reason":"Connection timed out","body":"{\"data\":null}"}])");
  auto const r = get(server, "/cluster/status");
  EXPECT_EQ(r.status, 596);
  EXPECT_EQ(r.reason, "Connection timed out");
  EXPECT_EQ(get(server, "/cluster/status").status, 200);
}

TEST(proxmox_server, serves_https_with_a_certificate_for_the_name_it_was_asked_for) {
  proxmox_options o;
  o.tls = weir::sim::make_self_signed("localhost");
  o.url_host = "localhost";
  proxmox_server server(o);
  EXPECT_EQ(server.url().substr(0, 18), "https://localhost:");
  EXPECT_EQ(server.fingerprint().size(), 32U * 3 - 1);
  auto const code = [&](std::string const& url, bool trust) {
    CURL* c = curl_easy_init();
    auto const authorization = token[0].first + ": " + token[0].second;
    curl_slist* headers = curl_slist_append(nullptr, authorization.c_str());
    curl_blob ca{const_cast<char*>(o.tls.certificate_pem.data()), o.tls.certificate_pem.size(), CURL_BLOB_COPY};
    curl_easy_setopt(c, CURLOPT_URL, url.c_str());
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 20L);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(
        c, CURLOPT_WRITEFUNCTION, +[](char*, std::size_t size, std::size_t n, void*) { return size * n; });
    if (trust) curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &ca);
    auto const result = curl_easy_perform(c);
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    // The second request of a connection must work, too.
    if (result == CURLE_OK && curl_easy_perform(c) != CURLE_OK) status = -1;
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    return std::pair(result, status);
  };
  auto const port = server.url().substr(server.url().rfind(':'));
  EXPECT_EQ(code(server.url() + "/api2/json/version", true), std::pair(CURLE_OK, 200L));
  EXPECT_EQ(code("https://127.0.0.1" + port + "/api2/json/version", true).first, CURLE_PEER_FAILED_VERIFICATION)
      << "another name";
  EXPECT_EQ(code(server.url() + "/api2/json/version", false).first, CURLE_PEER_FAILED_VERIFICATION)
      << "nobody vouches for it";
}
