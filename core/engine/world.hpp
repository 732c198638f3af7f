// What NetBox holds, as far as this run has read it, and what this run is about to add.
//
// Objects have logical ids: an existing object's is NetBox's own; one that is to be created gets a pending id at once,
// so that others can refer to it before NetBox has given it a number. real() translates when a request is built.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/engine/packed.hpp"
#include "core/netbox/kind.hpp"

namespace weir::engine {

using object_id = std::uint64_t;
inline constexpr object_id first_pending = object_id{1} << 62;

struct row {
  object_id id = 0;
  packed data;           // the fields read, normalised
  bool removed = false;  // planned for deletion
  nlohmann::json fields() const;
};

class world;

// One kind's objects, found by natural key, by adoption key and by id.
class table {
 public:
  explicit table(netbox::kind const& k) : kind_(&k) {}
  netbox::kind const& kind() const { return *kind_; }
  std::vector<row> const& rows() const { return rows_; }
  // By its natural key, or one that it had earlier in this run; the first of several.
  row* by_key(std::string const& key_text);
  // All that have it now, in the order of their reading: more than one is somebody's copy.
  std::vector<row*> all_by_key(std::string const& key_text);
  row* by_id(object_id id);
  // Rows that share this adoption key; `which` is its index in kind().adopt_by.
  std::vector<row*> by_adoption(std::size_t which, std::string const& key_text);
  row& add(object_id id, nlohmann::json const& fields);
  row& add(object_id id, nlohmann::json const& fields, packed same);  // shares its bytes
  // This row answers to this key from now on, too.
  void alias(object_id id, std::string const& key_text);
  void replace(row& r, nlohmann::json const& fields);
  std::set<std::string> const& fields() const { return fields_; }

 private:
  friend class world;
  void index(std::size_t at, nlohmann::json const& fields);

  netbox::kind const* kind_;
  std::set<std::string> fields_;  // top-level fields that were read
  bool loaded_ = false;
  std::vector<row> rows_;
  // Keys as hashes: what is found is compared with the row itself. The texts would take more room than the rows.
  using hashed = std::unordered_multimap<std::size_t, std::uint32_t>;
  std::vector<std::size_t> places(hashed const& in, std::vector<std::string> const& members,
                                  std::string const& key_text, bool fold) const;

  hashed by_key_;
  std::unordered_map<std::string, std::size_t> aliases_;
  std::unordered_map<object_id, std::uint32_t> by_id_;
  std::vector<hashed> adoption_;
};

class world {
 public:
  explicit world(netbox::registry const& kinds) : kinds_(kinds) {}
  netbox::registry const& kinds() const { return kinds_; }

  // Does the table of `k` hold these fields? If not, read them and call load().
  bool holds(netbox::kind const& k, std::set<std::string> const& fields) const;
  // The fields to ask NetBox for: these and all that were read before.
  std::set<std::string> wanted_fields(netbox::kind const& k, std::set<std::string> const& fields) const;
  // Starts the table of `k` anew with what NetBox answers; objects that only this run knows stay.
  class loader {
   public:
    loader(world& w, netbox::kind const& k, std::set<std::string> fields);
    void add(nlohmann::json const& raw);
    void finish();

   private:
    world& world_;
    table fresh_;
  };

  table& of(netbox::kind const& k);

  // The canonical text of a natural key: [value, …] with references as logical ids. Nothing if a reference is unknown;
  // then `missing`, if given, says which ("cluster").
  std::optional<std::string> key_text(netbox::kind const& k, nlohmann::json const& key, std::string* missing = nullptr);
  // Which object has that key; one that is planned to be deleted has none.
  std::optional<object_id> find(netbox::kind const& k, nlohmann::json const& key);
  // Asked by find() where no object has a key: which one it was when it was last seen (a person has renamed it).
  using recall = std::function<std::optional<object_id>(netbox::kind const& k, std::string const& key_text)>;
  void recall_by(recall ask) { recall_ = std::move(ask); }

  object_id new_pending(netbox::kind const& k);  // one of kinds()
  void created(object_id pending, object_id real);
  std::optional<object_id> real(object_id logical) const;  // nothing: it was not created
  object_id logical(object_id real, std::string const& kind) const;
  // How people call an object: its label, or "#17".
  std::string label(netbox::kind const& k, object_id id);

 private:
  netbox::registry const& kinds_;
  recall recall_;
  std::unordered_map<std::string, table> tables_;
  std::unordered_map<object_id, object_id> real_of_;                                      // pending ► real
  std::unordered_map<std::string, std::unordered_map<object_id, object_id>> pending_of_;  // kind ► real ► pending
  std::vector<netbox::kind const*> pending_kinds_;  // of first_pending and those after it
  friend class loader;
  friend class table;
};

// Text of some members of an object, for use as a key of an index: "[1,\"a\"]". Lower case where `fold` is set (NetBox
// holds names unique without regard to case).
std::string index_text(std::vector<std::string> const& members, nlohmann::json const& object, bool fold);

}  // namespace weir::engine
