// weir-sim: the simulated servers as a program, for tests in other languages and for trying weir out.
#include "core/sim/inventory.hpp"
#include "core/sim/netbox.hpp"
#include "core/sim/proxmox.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace {

using namespace weir::sim;

constexpr char const* usage = R"(usage: weir-sim proxmox|netbox|inventory [options]
Prints one line {"url": …, "fingerprint": …} when it listens; ends on SIGTERM or SIGINT.
  --port N                    0 (default) takes any free port
  --exit-with-parent-stdin    end when standard input closes, too
  --tls-cert F --tls-key F    serve HTTPS with these PEM files
  --tls-self-signed HOST      serve HTTPS with a new certificate for HOST
  --tls-days N                that ends in so many days (3650; -1: it has)
  --write-cert F              write the certificate there
  --idle-ms N                 close an idle connection after so long
proxmox: --nodes 3 --guests 60 --backups 600 --gone-backups 0 --duplicate-names 0 --seed 1 --cluster pve-a --standalone
         --no-backup-rights --token-id sync@pve!weir --token-secret UUID --username U --password P --latency-ms 0
         --model F            take the model from a file instead of making one
         --print-model        print the generated model and end
netbox:  --token T (repeatable) --read-only-token T --version 4.7.3 --no-plugin
         --options JSON       as PUT /_sim/options
inventory: a REST service below /api: /devices, and /STYLE/devices with pages: link, next, page, offset, cursor
         --devices 120 --seed 1 --page-size 50 --max-page-size 100 --token T --token-header Authorization
         --token-prefix "Bearer " --username U --password P --anonymous --latency-ms 0
         --model F            take the devices from a file (a JSON array)
         --print-model        print the generated devices and end
         --options JSON       as PUT /_sim/options: repeat_page, shrink_at, foreign_next
)";

struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string read_file(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

struct arguments {
  std::map<std::string, std::function<void(std::string const&)>> with_value;
  std::map<std::string, std::function<void()>> flags;

  void parse(int argc, char** argv, int from) const {
    for (int i = from; i < argc; ++i) {
      std::string name = argv[i];
      if (auto const flag = flags.find(name); flag != flags.end()) {
        flag->second();
        continue;
      }
      std::string value;
      if (auto const equals = name.find('='); equals != std::string::npos) {
        value = name.substr(equals + 1);
        name.resize(equals);
      } else if (i + 1 < argc) {
        value = argv[++i];
      } else {
        throw usage_error("unknown option or missing value: " + name);
      }
      auto const option = with_value.find(name);
      if (option == with_value.end()) throw usage_error("unknown option: " + name);
      option->second(value);
    }
  }
};

template <class Number>
std::function<void(std::string const&)> into(Number& target) {
  return [&target](std::string const& text) {
    try {
      target = static_cast<Number>(std::stoll(text));
    } catch (std::exception const&) {
      throw usage_error("not a number: " + text);
    }
  };
}
std::function<void(std::string const&)> into(std::string& target) {
  return [&target](std::string const& text) { target = text; };
}
std::function<void(std::string const&)> into(std::chrono::milliseconds& target) {
  return [&target](std::string const& text) { target = std::chrono::milliseconds(std::stoll(text)); };
}

struct common_options {
  std::string cert_file, key_file, self_signed, write_cert;
  bool with_stdin = false;
  int days = 3650;

  template <class Options>
  void add(arguments& a, Options& o) {
    a.with_value["--port"] = into(o.port);
    a.with_value["--idle-ms"] = into(o.idle);
    a.with_value["--tls-cert"] = into(cert_file);
    a.with_value["--tls-key"] = into(key_file);
    a.with_value["--tls-self-signed"] = into(self_signed);
    a.with_value["--tls-days"] = into(days);
    a.with_value["--write-cert"] = into(write_cert);
    a.flags["--exit-with-parent-stdin"] = [this] { with_stdin = true; };
  }
  template <class Options>
  void finish(Options& o) const {
    if (!self_signed.empty()) {
      o.tls = make_self_signed(self_signed, days);
      o.url_host = self_signed;
    } else if (!cert_file.empty()) {
      o.tls = {read_file(cert_file), read_file(key_file)};
    }
    if (!write_cert.empty()) std::ofstream(write_cert) << o.tls.certificate_pem;
  }
};

// Until SIGTERM or SIGINT, or (if asked for) until standard input ends.
void wait(bool with_stdin, int signals) {
  std::array<pollfd, 2> polled{{{signals, POLLIN, 0}, {with_stdin ? STDIN_FILENO : -1, POLLIN, 0}}};
  while (true) {
    if (::poll(polled.data(), polled.size(), -1) < 0) return;
    if (polled[0].revents != 0) return;
    std::array<char, 256> ignored{};
    if (polled[1].revents != 0 && ::read(STDIN_FILENO, ignored.data(), ignored.size()) <= 0) return;
  }
}

template <class Server>
void serve(Server const& server, bool with_stdin, int signals) {
  nlohmann::json const line = {{"url", server.url()}, {"fingerprint", server.fingerprint()}};
  std::cout << line.dump() << std::endl;
  wait(with_stdin, signals);
}

int run(int argc, char** argv) {
  std::string const which = argc > 1 ? argv[1] : "";
  if (which == "--help" || which == "-h") {
    std::cout << usage;
    return 0;
  }
  // Before any thread starts, so that all of them inherit the mask and only signalfd sees the signals.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  int const signals = signalfd(-1, &set, SFD_CLOEXEC);

  arguments a;
  common_options common;
  if (which == "proxmox") {
    proxmox_options o;
    std::string model_file;
    bool print = false;
    common.add(a, o);
    a.with_value["--nodes"] = into(o.nodes);
    a.with_value["--guests"] = into(o.guests);
    a.with_value["--backups"] = into(o.backups);
    a.with_value["--gone-backups"] = into(o.gone_backups);
    a.with_value["--duplicate-names"] = into(o.duplicate_names);
    a.with_value["--seed"] = into(o.seed);
    a.with_value["--cluster"] = into(o.cluster);
    a.with_value["--token-id"] = into(o.token_id);
    a.with_value["--token-secret"] = into(o.token_secret);
    a.with_value["--username"] = into(o.username);
    a.with_value["--password"] = into(o.password);
    a.with_value["--latency-ms"] = into(o.latency);
    a.with_value["--model"] = into(model_file);
    a.flags["--standalone"] = [&] { o.standalone = true; };
    a.flags["--no-backup-rights"] = [&] { o.backup_rights = false; };
    a.flags["--print-model"] = [&] { print = true; };
    a.parse(argc, argv, 2);
    common.finish(o);
    if (print) {
      std::cout << generate_proxmox_model(o) << '\n';
      return 0;
    }
    proxmox_server server(o);
    if (!model_file.empty()) server.set_model(read_file(model_file));
    serve(server, common.with_stdin, signals);
    return 0;
  }
  if (which == "netbox") {
    netbox_options o;
    std::vector<netbox_token> tokens;
    std::string more;
    common.add(a, o);
    a.with_value["--token"] = [&](std::string const& t) { tokens.push_back({t, false, {}}); };
    a.with_value["--read-only-token"] = [&](std::string const& t) { tokens.push_back({t, true, {}}); };
    a.with_value["--version"] = into(o.version);
    a.with_value["--options"] = into(more);
    a.flags["--no-plugin"] = [&] { o.plugin = false; };
    a.parse(argc, argv, 2);
    common.finish(o);
    if (!tokens.empty()) o.tokens = tokens;
    netbox_server server(o);
    if (!more.empty()) server.set_options(more);
    serve(server, common.with_stdin, signals);
    return 0;
  }
  if (which == "inventory") {
    inventory_options o;
    std::string model_file, more;
    bool print = false;
    common.add(a, o);
    a.with_value["--devices"] = into(o.devices);
    a.with_value["--seed"] = into(o.seed);
    a.with_value["--page-size"] = into(o.page_size);
    a.with_value["--max-page-size"] = into(o.max_page_size);
    a.with_value["--token"] = into(o.token);
    a.with_value["--token-header"] = into(o.token_header);
    a.with_value["--token-prefix"] = into(o.token_prefix);
    a.with_value["--username"] = into(o.username);
    a.with_value["--password"] = into(o.password);
    a.with_value["--latency-ms"] = into(o.latency);
    a.with_value["--model"] = into(model_file);
    a.with_value["--options"] = into(more);
    a.flags["--anonymous"] = [&] { o.anonymous = true; };
    a.flags["--print-model"] = [&] { print = true; };
    a.parse(argc, argv, 2);
    common.finish(o);
    if (print) {
      std::cout << generate_inventory(o) << '\n';
      return 0;
    }
    inventory_server server(o);
    if (!model_file.empty()) server.set_model(read_file(model_file));
    if (!more.empty()) server.set_options(more);
    serve(server, common.with_stdin, signals);
    return 0;
  }
  throw usage_error("say which server: proxmox, netbox or inventory");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (usage_error const& e) {
    std::cerr << "weir-sim: " << e.what() << '\n' << usage;
    return 64;
  } catch (std::exception const& e) {
    std::cerr << "weir-sim: " << e.what() << '\n';
    return 1;
  }
}
