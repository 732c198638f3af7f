// Which of NetBox's objects an object that is wanted is: by its key, by what is remembered, by what NetBox holds
// unique. And how updates that pass names on to each other are ordered.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/engine/diff.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/plan.hpp"

namespace weir::engine {

// One object that is wanted, on its way through diff.
struct candidate {
  desired const* from = nullptr;
  std::string key_text;                            // world::key_text
  std::string label(netbox::kind const& k) const;  // how people call it
};

struct matched {
  object_id object = 0;                // 0: NetBox does not have it
  reason why = reason::differs;        // adopted, recreated, renumbered: how it was found, or what it is now
  std::string detail;                  // for people
  std::optional<std::string> refused;  // nobody can tell, or may: why, with the candidates by label and id
};

// An object whose key belongs to another machine now.
struct released {
  object_id object = 0;
  std::string detail;  // for people: whose it is
};

class matcher {
 public:
  // `all`: everything of the kind that is wanted, sorted by key text; a row that one of them is by its key is no
  // other's. `scopes`: declared complete, resolved: what is ours in them and not wanted is free. Both are kept.
  matcher(world& w, netbox::kind const& k, diff_rules const& rules, memory& known, std::vector<candidate> const& all,
          std::vector<nlohmann::json> const& scopes);
  // `whole`: key, "$create" members and fields, normalised and resolved. Each row is given out once.
  matched match(candidate const& c, nlohmann::json const& whole);
  // What NetBox has of it as far as its key tells: not gone, whatever becomes of the candidate.
  std::vector<object_id> held(candidate const& c);
  // After all matches: what has to give up its key.
  std::vector<released> releases();

 private:
  // An object that has the key of a candidate and is another machine than it.
  struct contest {
    object_id object = 0;
    bool same_name = false;
    bool settled = false;   // the candidate has another object now, or a new one
    std::string by, facts;  // its label; which facts differ
  };

  matched by_key(candidate const& c, nlohmann::json const& whole);
  std::optional<matched> remembered(candidate const& c);
  std::optional<matched> recognised(candidate const& c);
  std::optional<matched> by_name(candidate const& c, nlohmann::json const& whole);
  std::optional<matched> unclaimed(candidate const& c, nlohmann::json const& whole);
  bool is_wanted(std::string const& key_text) const;
  bool is_free(row const& r, nlohmann::json const& fields) const;
  bool is_ours(nlohmann::json const& fields) const;
  std::string names_of(std::vector<object_id> const& ids);  // "web #1, web #2"
  std::optional<object_id> last_seen(std::string const& key_text);
  // Nothing: it may be taken over. Else why not.
  std::optional<std::string> may_adopt(object_id id, nlohmann::json const& fields);
  matched take(candidate const& c, object_id id, reason why, std::string detail = {});

  world& world_;
  netbox::kind const& kind_;
  diff_rules const& rules_;
  memory& memory_;
  std::vector<nlohmann::json> const& scopes_;
  std::vector<candidate> const& all_;                     // by key text
  std::unordered_set<object_id> taken_;                   // given out otherwise than by its key
  std::map<std::string, contest> contests_;               // by key text
  std::unordered_map<object_id, std::string> contested_;  // object ► key text
};

// Of which object a key told when it was last seen, where none has it now: a person has renamed the object. Only where
// it is the same owner's still.
std::optional<object_id> recall(world& w, netbox::kind const& k, memory& known, std::string const& key_text);

// What two texts of facts (kind::identity) say: `same` where nothing speaks against it.
enum class verdict { same, unknown, another };
struct judgement {
  verdict says = verdict::unknown;
  std::string by;  // "uuid, mac": the facts that tell
};
judgement compare_facts(std::string_view a, std::string_view b);

// Updates that wait for each other's names, in the order in which NetBox accepts them: each wave is carried out before
// the next is sent. Usually one. `updates` may hold an object twice: those come one after the other.
std::vector<std::vector<change const*>> waves(netbox::kind const& k, std::vector<change> const& updates);

// Names that go round (a swap): one object of each round gets a name of its own for a moment, by a further update.
void break_rounds(kind_plan& plan);

}  // namespace weir::engine
