#ifndef PTYCHOSERVE_ENGINE_IO_REPLACED_FILE_H_
#define PTYCHOSERVE_ENGINE_IO_REPLACED_FILE_H_

#include <string>
#include <utility>

#include "absl/status/status.h"

namespace ptychoserve {

// A file that appears under its name only when it is complete: it is written beside it, as
// "NAME.part", and then renamed. A failure leaves what was there before. Not thread-safe.
class ReplacedFile {
 public:
  explicit ReplacedFile(std::string path) : path_(std::move(path)), part_(path_ + ".part") {}
  // Removes the part unless Commit has succeeded.
  ~ReplacedFile();
  ReplacedFile(const ReplacedFile&) = delete;
  ReplacedFile& operator=(const ReplacedFile&) = delete;

  const std::string& path() const { return path_; }
  // Where to write.
  const std::string& part() const { return part_; }
  // Call once, after the part has been closed. Errors: kInternal.
  absl::Status Commit();

 private:
  std::string path_;
  std::string part_;
  bool committed_ = false;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_REPLACED_FILE_H_
