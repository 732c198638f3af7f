// What is remembered of NetBox's objects, kept in the journal, and what of a change goes into the journal so that it
// can be remembered and undone.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/plan.hpp"
#include "core/store/journal.hpp"

namespace weir::engine {

class journal_memory final : public memory {
 public:
  // `into` null: what is noted is forgotten (a dry run).
  journal_memory(store::journal const& from, store::journal* into, std::string netbox_url);

  std::optional<known_object> of(netbox::kind const& k, object_id id) override;
  std::optional<object_id> find(netbox::kind const& k, std::string const& key_text) override;
  // Kept back until there are some hundreds, or flush().
  void note(netbox::kind const& k, object_id id, known_object const& what) override;

  // The first error of the journal's since the last call, if there was one. What could not be read is taken for not
  // known.
  base::result<void> flush();

 private:
  void write();

  store::journal const& from_;
  store::journal* into_;
  std::string netbox_url_;
  std::map<std::pair<std::string, object_id>, known_object> noted_;  // by kind's name and id; not yet written
  std::optional<base::error> failed_;
};

// An object's row in the journal, as it stands before the change is sent: what NetBox holds and what is sent, with
// NetBox's own ids, what is to be remembered once it is done, and what was before. `position` is left to the caller.
store::object_record record_of(world& w, memory& known, change const& c);

// What was remembered, as text for object_record::known_before, and back; nothing: it is no such text.
std::string text_of(known_object const& k);
std::optional<known_object> known_from(std::string_view text);

// A JSON object of fields or leaves with NetBox's own ids where it refers to something. References to what could not be
// created are left out.
std::string with_real_ids(world const& w, netbox::kind const& k, std::string const& fields);

}  // namespace weir::engine
