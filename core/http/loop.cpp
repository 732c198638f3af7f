#include "core/http/loop.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

namespace weir::http {
namespace {

namespace asio = boost::asio;

class asio_loop : public loop, public std::enable_shared_from_this<asio_loop> {
 public:
  explicit asio_loop(asio::io_context& io) : io_(io) {}

  throttle::clock::time_point now() const override { return throttle::clock::now(); }
  std::chrono::system_clock::time_point wall_now() const override { return std::chrono::system_clock::now(); }
  void post(std::function<void()> what) override { asio::post(io_, std::move(what)); }

  timer call_at(throttle::clock::time_point when, std::function<void()> what) override {
    auto const id = ++last_;
    auto const [at, inserted] = timers_.emplace(id, asio::steady_timer(io_, when));
    at->second.async_wait([weak = weak_from_this(), id, what = std::move(what)](boost::system::error_code ec) {
      auto const self = weak.lock();
      if (ec || !self || self->timers_.erase(id) == 0) return;
      what();
    });
    return id;
  }
  void cancel(timer which) override { timers_.erase(which); }

  bool on_loop_thread() const override { return io_.get_executor().running_in_this_thread(); }

  bool wait(std::chrono::milliseconds at_most, std::function<bool()> const& ready) override {
    std::unique_lock lock(mutex_);
    if (at_most == std::chrono::milliseconds::max()) {
      changed_.wait(lock, ready);
      return true;
    }
    return changed_.wait_for(lock, at_most, ready);
  }
  void wake() override {
    std::scoped_lock lock(mutex_);
    changed_.notify_all();
  }

 private:
  asio::io_context& io_;
  std::unordered_map<timer, asio::steady_timer> timers_;
  timer last_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace

std::shared_ptr<loop> make_asio_loop(asio::io_context& io) { return std::make_shared<asio_loop>(io); }

}  // namespace weir::http
