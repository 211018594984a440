#ifndef PTYCHOSERVE_CLIENT_CPP_WATCH_H_
#define PTYCHOSERVE_CLIENT_CPP_WATCH_H_

namespace ptychoserve::client {

// A subscription. Lives until the server ends it or it is destroyed. Thread-safe.
class Watch {
 public:
  // Cancels, and waits for a callback under way: not from within one.
  virtual ~Watch() = default;
  // Asks for the end; on_done follows with kCancelled. Does not wait.
  virtual void Cancel() = 0;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_WATCH_H_
