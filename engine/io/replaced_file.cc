#include "engine/io/replaced_file.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace ptychoserve {

ReplacedFile::~ReplacedFile() {
  std::error_code ignored;
  if (!committed_) std::filesystem::remove(part_, ignored);
}

absl::Status ReplacedFile::Commit() {
  std::error_code error;
  std::filesystem::rename(part_, path_, error);
  if (error) {
    return absl::InternalError(absl::StrCat(path_, ": cannot be put in place: ", error.message()));
  }
  committed_ = true;
  return absl::OkStatus();
}

}  // namespace ptychoserve
