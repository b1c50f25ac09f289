# The finished libraries from object libraries.
#
#   tuff_library(NAME objects ... [LINKS other finished libraries])
#
# makes NAME_static, NAME_shared and the alias tuff::NAME (tuff::io for tuff_io). The static one is one
# relocatable object in which every hidden symbol has become local: a host that brings its own volk, or
# a function with the name of one of ours, links without a clash.

function(tuff_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" LINKS)
  set(objects "")
  set(libraries "")
  foreach(object_library IN LISTS arg_UNPARSED_ARGUMENTS)
    list(APPEND objects $<TARGET_OBJECTS:${object_library}>)
  endforeach()
  list(GET arg_UNPARSED_ARGUMENTS 0 first)
  get_target_property(libraries ${first} INTERFACE_LINK_LIBRARIES)
  string(REPLACE "tuff_" "" export ${name})

  if(CMAKE_SYSTEM_NAME MATCHES "Linux|Android|FreeBSD" AND CMAKE_OBJCOPY AND CMAKE_LINKER)
    set(whole ${PROJECT_BINARY_DIR}/lib/${name}_whole.o)
    add_custom_command(OUTPUT ${whole}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/lib
      COMMAND ${CMAKE_LINKER} -r -o ${whole} ${objects}
      COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${whole}
      DEPENDS ${objects} COMMAND_EXPAND_LISTS COMMENT "Joining lib${name}" VERBATIM)
    set_source_files_properties(${whole} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    add_library(${name}_static STATIC ${whole})
    add_dependencies(${name}_static ${arg_UNPARSED_ARGUMENTS})
  else()
    add_library(${name}_static STATIC ${objects})
  endif()
  add_library(${name}_shared SHARED ${objects})
  foreach(kind IN ITEMS static shared)
    set_target_properties(${name}_${kind} PROPERTIES OUTPUT_NAME ${name} LINKER_LANGUAGE C EXPORT_NAME ${export}_${kind})
    target_include_directories(${name}_${kind} INTERFACE
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    add_library(tuff::${export}_${kind} ALIAS ${name}_${kind})
    foreach(link IN LISTS arg_LINKS)
      target_link_libraries(${name}_${kind} PUBLIC ${link}_${kind})
    endforeach()
  endforeach()
  target_link_libraries(${name}_static INTERFACE ${libraries})
  target_link_libraries(${name}_shared PRIVATE ${libraries})
  target_compile_definitions(${name}_shared INTERFACE TUFF_SHARED)
  set_target_properties(${name}_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(${name}_shared PRIVATE -Wl,--exclude-libs,ALL)
    if(TUFF_WERROR AND NOT TUFF_SANITIZE)
      target_link_options(${name}_shared PRIVATE -Wl,-z,defs)
    endif()
  endif()
  if(BUILD_SHARED_LIBS)
    add_library(tuff::${export} ALIAS ${name}_shared)
  else()
    add_library(tuff::${export} ALIAS ${name}_static)
  endif()
endfunction()
