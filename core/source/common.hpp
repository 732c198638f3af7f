// What every source over HTTP needs: failover between its addresses, its gate's limits, which targets may be sent, and
// texts without secrets.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.hpp"
#include "core/http/transport.hpp"
#include "core/source/source.hpp"
#include "core/throttle/gate.hpp"

namespace weir::source {

// Nothing has reached this server, so another one may be asked instead.
bool not_connected(http::reply const& r);

// A source's addresses as one transport: a request's URL is a path, the address is chosen here. One that cannot be
// reached is left for the next, for every later request too. An absolute URL goes to the address of its origin only.
// `edit` sees every answer before anybody else does.
std::unique_ptr<http::transport> make_failover(boost::asio::io_context& io, config::source const& settings,
                                               std::vector<std::string> addresses,
                                               std::size_t reply_limit = http::max_reply_bytes,
                                               std::function<void(http::reply&)> edit = {});

throttle::limits limits_of(config::source const& settings, std::size_t attempts);

// What is wrong with a target that a stage names; "" if nothing.
std::string_view refuse(std::string_view target);

// "/nodes/pve1/qemu/100/config?x=y" ► "nodes/{node}/qemu/{vmid}/config": Proxmox VE's path without what it is about,
// for metrics and latencies. Words of its API stay; names, ids and what looks like one do not.
std::string endpoint_of(std::string_view target);

// `text` without the secrets, as they are and percent-encoded, whatever the other side has put into its answer.
std::string hide(std::string text, std::vector<std::string_view> const& secrets);

// Blocks the calling thread until what `start` begins has called back, or its loop is gone.
fetched wait_for(std::string const& name, std::function<void(std::function<void(fetched)>)> const& start);

}  // namespace weir::source
