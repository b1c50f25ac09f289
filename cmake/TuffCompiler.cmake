# Compiler settings that every target of the project shares.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

if(TUFF_SANITIZE)
  add_compile_options(-fsanitize=${TUFF_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${TUFF_SANITIZE})
endif()

function(tuff_compile_options target)
  set_target_properties(${target} PROPERTIES
    POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden)
  if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wvla
      # types share names with what holds them (`node *node`): GCC's plain -Wshadow minds, Clang's does not
      $<IF:$<C_COMPILER_ID:GNU>,-Wshadow=local,-Wshadow>
      $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
      # the same sums on every machine: no silent contraction into fused multiply-adds
      -ffp-contract=off
      $<$<BOOL:${TUFF_WERROR}>:-Werror>)
    # POSIX beside C17: clock_gettime, fsync, strdup, realpath
    target_compile_definitions(${target} PRIVATE _XOPEN_SOURCE=700 _FILE_OFFSET_BITS=64)
  endif()
endfunction()
